"""SimCLR (Chen et al., 2020, https://arxiv.org/abs/2002.05709)."""

from torch import Tensor

from dal_toolbox.arguments import at_least, between, one_of, positive
from dal_toolbox.encoders import Encoder
from dal_toolbox.ssl.base import SSL_METHODS, SSLMethod
from dal_toolbox.ssl.heads import PROJECTORS, build_projector, check_widths
from dal_toolbox.ssl.losses import nt_xent


@SSL_METHODS.register("simclr")
class SimCLR(SSLMethod):
    """Draws two views of an image together and pushes those of all other images away.

    Args:
        encoder: The network to train.
        projector: Name of the head between features and loss: ``linear``, ``mlp``, ``mlp_bn``, ``mlp3``.
        projector_dim: Length of a projection.
        projector_hidden_dim: Width of the hidden layers. None: that of the features.
        temperature: Divides the cosine similarities of the projections.

    Raises:
        ValueError: A name is unknown, or a number is out of its range.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        projector: str = "mlp",
        projector_dim: int = 128,
        projector_hidden_dim: int | None = None,
        temperature: float = 0.5,
    ) -> None:
        super().__init__(encoder)
        one_of(PROJECTORS, projector=projector)
        at_least(1, projector_dim=projector_dim)
        check_widths(projector_dim=projector_dim, projector_hidden_dim=projector_hidden_dim)
        positive(temperature=temperature)
        between(1e-4, 1e4, temperature=temperature)  # beyond, float32 knows 0 and infinity only
        self.projector = build_projector(
            projector, encoder.num_features, projector_dim, projector_hidden_dim
        )
        self.temperature = temperature

    def loss(self, views: Tensor) -> dict[str, Tensor]:
        """NT-Xent of two views, (2b, c, h, w)."""
        z = self.projector(self.encoder(views))  # (2b, projector_dim)
        return {"loss": nt_xent(z, self.temperature), "projections": z.detach()}
