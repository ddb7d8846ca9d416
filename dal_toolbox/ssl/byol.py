"""BYOL (Grill et al., 2020, https://arxiv.org/abs/2006.07733)."""

from copy import deepcopy
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from dal_toolbox.arguments import at_least, between, one_of
from dal_toolbox.encoders import Encoder
from dal_toolbox.ssl.base import SSL_METHODS, SSLMethod
from dal_toolbox.ssl.heads import PROJECTORS, build_projector, check_widths
from dal_toolbox.ssl.losses import byol_loss
from dal_toolbox.ssl.schedule import target_momentum as momentum_of_step

ForwardViews = Literal["separate", "concatenated"]


@SSL_METHODS.register("byol")
class BYOL(SSLMethod):
    """Predicts, from one view, the projection that a moving average of itself gives the other.

    The online network is encoder, projector and predictor; its encoder, ``encoder``, is what is kept.
    The target is encoder and projector with parameters averaged over the steps. It is part of the
    checkpoint, and no part of the optimizer. Its batch normalization uses the statistics of the
    batch, and keeps its own running ones: averaged ones would belong to other activations.

    Args:
        encoder: The network to train.
        projector: Name of the head between features and loss: ``mlp_bn`` in the paper.
        projector_dim: Length of a projection.
        projector_hidden_dim: Width of its hidden layers. None: that of the features.
        predictor_hidden_dim: Width of the hidden layer of the predictor.
        target_momentum: Share of the target that the first step keeps; rises to 1 along a cosine.
        forward_views: ``separate`` normalizes every view by its own batch statistics, as in the
            paper; ``concatenated`` is one pass for both, and faster.

    Raises:
        ValueError: A name is unknown, or a number is out of its range.
    """

    default_augmentation: ClassVar[str] = "byol"
    has_negatives: ClassVar[bool] = False

    def __init__(
        self,
        encoder: Encoder,
        *,
        projector: str = "mlp_bn",
        projector_dim: int = 256,
        projector_hidden_dim: int | None = 4096,
        predictor_hidden_dim: int = 4096,
        target_momentum: float = 0.996,
        forward_views: ForwardViews = "separate",
    ) -> None:
        super().__init__(encoder)
        one_of(PROJECTORS, projector=projector)
        at_least(1, projector_dim=projector_dim, predictor_hidden_dim=predictor_hidden_dim)
        check_widths(
            projector_dim=projector_dim,
            projector_hidden_dim=projector_hidden_dim,
            predictor_hidden_dim=predictor_hidden_dim,
        )
        between(0, 1, target_momentum=target_momentum)
        one_of(get_args(ForwardViews), forward_views=forward_views)
        self.projector = build_projector(
            projector, encoder.num_features, projector_dim, projector_hidden_dim
        )
        self.predictor = build_projector(
            "mlp_bn", projector_dim, projector_dim, predictor_hidden_dim
        )
        self.target = deepcopy(nn.Sequential(encoder, self.projector)).requires_grad_(False)
        self.target_momentum = target_momentum
        self.forward_views = forward_views

    def loss(self, views: Tensor) -> dict[str, Tensor]:
        """Normalized squared error between predictions and targets of two views, (2b, c, h, w)."""
        parts = views.chunk(2) if self.forward_views == "separate" else (views,)
        z = [self.projector(self.encoder(part)) for part in parts]
        p = torch.cat([self.predictor(part) for part in z])  # (2b, projector_dim)
        with torch.no_grad():
            targets = torch.cat([self.target(part) for part in parts])
        return {"loss": byol_loss(p, targets), "projections": torch.cat(z).detach()}

    @torch.no_grad()
    def after_step(self, step: int, total: int) -> None:
        """Draws the target towards the online network: ξ ← m ξ + (1 − m) θ."""
        m = momentum_of_step(step, total, self.target_momentum)
        online: list[Tensor] = [*self.encoder.parameters(), *self.projector.parameters()]
        target: list[Tensor] = [*self.target.parameters()]
        torch._foreach_lerp_(target, online, 1 - m)
