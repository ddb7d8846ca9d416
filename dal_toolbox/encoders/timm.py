"""Any model of timm as encoder (https://github.com/huggingface/pytorch-image-models)."""

from typing import Any

from torch import Tensor, nn

from dal_toolbox.encoders.base import ENCODERS, Encoder
from dal_toolbox.errors import UserError
from dal_toolbox.progress import log


class PretrainedUnavailable(UserError):
    """Pretrained weights that do not exist or cannot be downloaded."""


@ENCODERS.register("timm")
class TimmEncoder(Encoder):
    """A timm model without its classifier.

    Models built for one image size (ViT, CoAtNet) are built for ``image_size``.

    Args:
        image_size: Height and width of the images, in pixels.
        in_channels: Channels of the images.
        model: Name of the model, with a tag for the weights: ``vit_small_patch14_dinov2.lvd142m``.
        pretrained: Loads the published weights.
        drop_path_rate: Stochastic depth; models without it raise.

    Raises:
        PretrainedUnavailable: There are no weights of this name, or no network to fetch them.
    """

    def __init__(
        self,
        image_size: int,
        in_channels: int,
        *,
        model: str = "resnet18",
        pretrained: bool = False,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        options: dict[str, Any] = {"in_chans": in_channels}
        if drop_path_rate > 0:
            options["drop_path_rate"] = drop_path_rate
        self.model = build_timm(model, image_size, pretrained=pretrained, **options)
        # A pre-classifier layer (MobileNetV3) makes the output wider than the last feature map.
        widths = ("head_hidden_size", "num_features")
        self.num_features = next(
            getattr(self.model, key) for key in widths if hasattr(self.model, key)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Features of normalized images, (b, c, h, w) -> (b, num_features)."""
        return self.model(images)


def build_timm(name: str, image_size: int, *, pretrained: bool, **options: Any) -> nn.Module:
    """``timm.create_model`` without classifier, for an image size, with errors a person can use."""
    import timm

    def create(**sizes: Any) -> nn.Module:
        return timm.create_model(name, pretrained=pretrained, num_classes=0, **options, **sizes)

    if pretrained:
        _log_weights(name)
    try:
        return create(img_size=image_size) if _has_fixed_size(name) else create()
    except (OSError, RuntimeError, ValueError) as error:
        if not pretrained:
            raise UserError(f"encoder '{name}' at {image_size} px: {_first_line(error)}") from error
        raise PretrainedUnavailable(
            f"no pretrained weights for '{name}': {_first_line(error)}. They are downloaded once, "
            "with a network; use pretrained=false or encoder_checkpoint=<path> without one"
        ) from error


def _has_fixed_size(name: str) -> bool:
    import timm

    config = timm.models.get_pretrained_cfg(name)
    return config is not None and bool(config.fixed_input_size)


def _log_weights(name: str) -> None:
    import timm

    config = timm.models.get_pretrained_cfg(name)
    if config is not None:
        license_ = config.license or "unknown license"
        log.info("pretrained weights %s.%s (%s)", config.architecture, config.tag, license_)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
