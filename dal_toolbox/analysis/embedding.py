"""A map of features: images that an encoder finds similar lie close to each other."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dal_toolbox.analysis.figures import legend_beside, new_axes, save
from dal_toolbox.analysis.names import for_plot
from dal_toolbox.analysis.plots import COLORS
from dal_toolbox.seeding import draw_seed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Ten colors that are told apart by color-blind readers too; then shapes tell.
PALETTE = (*COLORS[:-1], "#F0E442", "#802000", "#2A00B0")
MARKERS = "o^sD"
NAMED = 40  # classes in a legend


def tsne(features: np.ndarray, rng: np.random.Generator, perplexity: float = 30.0) -> np.ndarray:
    """Coordinates of t-SNE (van der Maaten and Hinton, 2008, https://jmlr.org/papers/v9/vandermaaten08a.html).

    Features are scaled to unit norm, and reduced to 50 principal components first, as the paper
    does. With fewer than three times ``perplexity`` items, a third of their number takes its place.

    Args:
        features: Shape: (n, d), n ≥ 4.
        rng: Generator of the start.
        perplexity: Effective number of neighbors.

    Returns:
        Shape: (n, 2).
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    x = np.asarray(features, dtype=np.float64)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    seed = draw_seed(rng) % 2**32
    if x.shape[1] > 50 and len(x) > 50:
        x = PCA(50, random_state=seed).fit_transform(x)
    perplexity = min(perplexity, max(1.0, (len(x) - 1) / 3))
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(x)


def plot_embedding(
    coordinates: np.ndarray, targets: np.ndarray, classes: Sequence[str], path: Path, title: str
) -> None:
    """Draws items at their coordinates, colored by class.

    Args:
        coordinates: Shape: (n, 2).
        targets: Class indices. Shape: (n,).
        classes: Class names.
        path: PNG file to write.
        title: Above the plot.
    """
    save(draw_embedding(coordinates, targets, classes, title), path)


def draw_embedding(
    coordinates: np.ndarray, targets: np.ndarray, classes: Sequence[str], title: str
) -> "Figure":
    """The figure of :func:`plot_embedding`."""
    figure, axes = new_axes()
    occur = np.unique(targets)
    size = float(np.clip(6000 / len(targets), 4, 40))
    points = []
    for i, target in enumerate(occur):
        x, y = coordinates[targets == target].T
        color, marker = PALETTE[i % len(PALETTE)], MARKERS[i // len(PALETTE) % len(MARKERS)]
        dots = axes.scatter(x, y, s=size, color=color, marker=marker, linewidths=0)
        points.append((for_plot(classes[target]), dots))
    axes.set(xticks=[], yticks=[], title=for_plot(title, 70))  # distances have no unit
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    if len(occur) <= NAMED:
        legend_beside(figure, points, markerscale=2)
    return figure
