"""Any model of timm as encoder (https://github.com/huggingface/pytorch-image-models)."""

from typing import Any

import torch
from torch import Tensor, nn

from dal_toolbox.arguments import one_of
from dal_toolbox.encoders._pretrained import (
    check_pretrained,
    pretrained_config,
    unavailable,
)
from dal_toolbox.encoders.base import (
    ENCODERS,
    Encoder,
    check_rates,
    check_sizes,
    did_you_mean,
    is_timm_model,
)
from dal_toolbox.progress import log


@ENCODERS.register("timm")
class TimmEncoder(Encoder):
    """A timm model without its classifier.

    Models built for one image size (ViT, CoAtNet, Swin) are built for ``image_size``.

    Args:
        image_size: Height and width of the images, in pixels.
        in_channels: Channels of the images.
        model: Name of the model, with a tag for the weights: ``vit_small_patch14_dinov2.lvd142m``.
        pretrained: Loads the published weights.
        drop_path_rate: Probability of leaving out a block in training (stochastic depth); models
            without it refuse more than 0.

    Raises:
        ValueError: There is no such model, it cannot work on images of this size, or it has no
            stochastic depth.
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
        check_rates(drop_path_rate=drop_path_rate)
        options = {"drop_path_rate": drop_path_rate} if drop_path_rate > 0 else {}
        self.model = build_timm(model, image_size, in_channels, pretrained=pretrained, **options)
        self.num_features = output_width(self.model, model, image_size, in_channels)
        config = pretrained_config(model)
        if pretrained and config is not None and in_channels == len(config.mean):
            self.normalization = tuple(config.mean), tuple(config.std)

    def forward(self, images: Tensor) -> Tensor:
        """Features of normalized images, (b, c, h, w) -> (b, num_features)."""
        return self.model(images)


def build_timm(
    name: str, image_size: int, in_channels: int, *, pretrained: bool, **options: Any
) -> nn.Module:
    """``timm.create_model`` without classifier, for an image size, with errors a person can use.

    Raises:
        ValueError: What is wrong begins with ``model``, ``image_size`` or the name of an option.
        PretrainedUnavailable: There are no weights of this name, or no network to fetch them.
    """
    import timm

    check_sizes(image_size, in_channels)
    one_of([True, False], pretrained=pretrained)
    if not is_timm_model(name):
        hint = did_you_mean(name, timm.list_models())
        raise ValueError(f"model={name}: timm has no such model.{hint}")
    config = pretrained_config(name)
    if pretrained:
        check_pretrained(name)
    if config is not None and config.fixed_input_size:
        options["img_size"] = image_size
    try:
        return timm.create_model(
            name, pretrained=pretrained, num_classes=0, in_chans=in_channels, **options
        )
    except MemoryError:
        raise
    except Exception as error:  # of timm, torch, the file system, or a client of the network
        if pretrained:
            raise unavailable(name, _first_line(error)) from error
        for key, value in options.items():
            if isinstance(error, TypeError) and f"'{key}'" in str(error):
                raise ValueError(
                    f"{key}={value!r}: the model '{name}' has no such option"
                ) from error
        raise ValueError(
            f"image_size={image_size}: the model '{name}' cannot be built for it "
            f"({_first_line(error)})"
        ) from error


def output_width(model: nn.Module, name: str, image_size: int, in_channels: int) -> int:
    """Length of the feature vectors, found by tracing shapes through the model; no batch is computed.

    Raises:
        ValueError: Images of this size do not pass through the model.
    """
    training = model.training
    model.eval()
    try:
        features = _shapes_only(model, torch.empty(1, in_channels, image_size, image_size))
    except MemoryError:
        raise
    except Exception as error:  # whatever a model of others raises
        raise ValueError(
            f"image_size={image_size}: the model '{name}' cannot take images of {image_size} px "
            f"({_first_line(error)}); choose another size or another encoder, such as resnet18"
        ) from error
    finally:
        model.train(training)
    _warn_of_border(model, name, image_size)
    return int(features.shape[-1])


@torch.no_grad()
def _shapes_only(model: nn.Module, image: Tensor) -> Tensor:
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    meta = {key: value.to("meta") for key, value in tensors.items()}
    try:
        return torch.func.functional_call(model, meta, image.to("meta"))
    except Exception:  # perhaps of an operation that needs values: ask the model itself
        return model(image.zero_())


def _warn_of_border(model: nn.Module, name: str, image_size: int) -> None:
    """Patches that do not divide the image leave out its last pixels without a word."""
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    if patch is not None and not isinstance(patch, int):
        patch = patch[0]
    if patch and image_size % patch:
        size = max(1, image_size // patch) * patch
        log.warning(
            "%s: patches of %d px do not divide %d px, so that the last %d pixels may never be "
            "seen; image_size=%d has no such border",
            *(name, patch, image_size, image_size % patch, size),
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
