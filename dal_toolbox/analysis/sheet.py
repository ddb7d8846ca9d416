"""A contact sheet: images side by side, numbered in the order of a table."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from dal_toolbox.analysis.figures import save

COLUMNS = 10


def write_sheet(images: Tensor, names: Sequence[str], path: Path) -> None:
    """Draws images in rows of ten, each with its number and the end of its name.

    Args:
        images: uint8. Shape: (n, c, h, w), c = 1 or 3.
        names: Names of the images. Length: n.
        path: PNG file to write.
    """
    from matplotlib.figure import Figure

    rows = -(-len(images) // COLUMNS)
    figure = Figure(figsize=(1.3 * COLUMNS, 1.5 * rows), dpi=100, layout="constrained")
    panels = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
    for panel in panels:
        panel.axis("off")
    pixels = images.permute(0, 2, 3, 1).squeeze(-1).numpy()
    for number, (panel, image, name) in enumerate(zip(panels, pixels, names, strict=False), 1):
        panel.imshow(image, cmap="gray", vmin=0, vmax=255)
        panel.set_title(f"{number}  {_end(name)}", fontsize=6, parse_math=False)
    save(figure, path)


def _end(name: str, length: int = 22) -> str:
    """The end of a name, which tells files apart, in characters that a font has."""
    shown = "".join(char if char.isprintable() else "?" for char in name)
    return shown if len(shown) <= length else f"…{shown[1 - length :]}"
