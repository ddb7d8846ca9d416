"""A map of features: which images an encoder holds for similar."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dal_toolbox.analysis.plots import COLORS, new_axes, save
from dal_toolbox.seeding import draw_seed


def tsne(features: np.ndarray, rng: np.random.Generator, perplexity: float = 30.0) -> np.ndarray:
    """Coordinates of t-SNE (van der Maaten and Hinton, 2008, https://jmlr.org/papers/v9/vandermaaten08a.html).

    Features are scaled to unit norm, and reduced to 50 principal components first, as the paper
    does. With fewer than three times ``perplexity`` items, a third of their number takes its place.

    Args:
        features: Shape: (n, d), n ≥ 4.
        rng: Of the start.
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
    from matplotlib import colormaps

    figure, axes = new_axes()
    occur = np.unique(targets)
    size = float(np.clip(6000 / len(targets), 4, 40))
    palette = COLORS if len(occur) <= len(COLORS) else colormaps["tab20"].colors  # type: ignore[attr-defined]
    for i, target in enumerate(occur):
        x, y = coordinates[targets == target].T
        name, color = classes[target], palette[i % len(palette)]
        axes.scatter(x, y, s=size, color=color, label=name, linewidths=0)
    axes.set(xticks=[], yticks=[], title=title)  # distances have no unit
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    if len(occur) <= 20:
        axes.legend(frameon=False, markerscale=2, loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, path)
