"""The operations of an augmentation in their order, each on the samples that it changes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dal_toolbox.augment.blur import gaussian_blur
from dal_toolbox.augment.color import (
    adjust_hue_,
    blend_,
    blend_shares,
    grayscale_,
    hue_offsets,
    solarize_,
)
from dal_toolbox.augment.geometry import resized_crop
from dal_toolbox.augment.parameters import NEVER, NO_HUE, NO_JITTER, Parameters


def augment(
    images: Tensor, table: Tensor, size: int, kernels: Sequence[tuple[int, int]], bicubic: bool
) -> tuple[Tensor, Tensor]:
    """Makes all views of some images.

    Samples are stored in groups by the operations that they undergo. Then an operation works on
    a few slices, however many samples there are, and few samples are taken out and put back.

    Args:
        images: uint8, or float in [0, 1]. Shape: (b, c, h, w).
        table: ``Parameters`` of view v of image i at i + v · b, on the host. Shape: (v · b, 16).
        size: Height and width of the views.
        kernels: Width and height of the blur's kernel for each view.
        bicubic: Whether crops are interpolated cubically.

    Returns:
        The samples in the order of storage, of shape (v · b, c, size, size), and the place of
        each sample among them, of shape (v · b,).
    """
    device, b = images.device, len(images)
    blurs = sorted(set(kernels))
    numbers = torch.tensor([1 + blurs.index(kernel) for kernel in kernels])
    blur = numbers.repeat_interleave(b) * (Parameters.of(table).sigma[:, 0] > 0)  # 0 for none
    order = _group(Parameters.of(table), blur)
    table, blur = table[order], blur[order]
    host, here = Parameters.of(table), Parameters.of(_to(device, table))
    x = to_float(images.index_select(0, _to(device, order % b)))
    x = resized_crop(x, here.boxes, size, here.flip, bicubic)
    stages = torch.arange(NO_JITTER + 1.0)
    _jitter_(x, here, torch.searchsorted(host.stage[:, 0].contiguous(), stages).tolist())
    for run in _runs(host.grayscale[:, 0] > 0):
        grayscale_(x[run])
    for number, kernel in enumerate(blurs, start=1):
        _blur_(x, here.sigma, _runs(blur == number), kernel)
    for run in _runs(host.threshold[:, 0] < NEVER):
        solarize_(x[run], here.threshold[run, :, None, None])
    return x, _to(device, order.argsort())


def _group(parameters: Parameters, blur: Tensor) -> Tensor:
    """The order that puts samples with the same operations together, by stage first."""
    key = 2 * parameters.stage[:, 0] + parameters.grayscale[:, 0]
    key = key * (1 + blur.amax()) + blur if len(blur) else key
    return (2 * key + (parameters.threshold[:, 0] < NEVER)).argsort(stable=True)


def to_float(images: Tensor) -> Tensor:
    """Float32 in [0, 1] from uint8, or from another float."""
    if images.dtype == torch.uint8:
        return images.to(torch.float32).div_(255)
    return images.to(torch.float32)


def per_channel(values: Sequence[float]) -> Tensor:
    """Shape: (c, 1, 1)."""
    return torch.tensor(list(values), dtype=torch.float32).view(-1, 1, 1)


def _jitter_(x: Tensor, parameters: Parameters, bounds: list[int]) -> None:
    """Makes the blends that precede the hue, turns the hue, and makes the other blends.

    Args:
        x: Sorted by stage. Shape: (n, c, h, w).
        parameters: In the same order.
        bounds: Where each stage begins.
    """
    hue, end = bounds[NO_HUE], bounds[NO_JITTER]
    if end == 0:
        return
    factors = parameters.factors[:end]  # (end, 3)
    shares = blend_shares(factors, parameters.blends[:end])
    blends = torch.stack([factors, *shares])[..., None, None, None]  # (3, end, 3, 1, 1, 1)
    offsets = hue_offsets(parameters.hue[:hue])[..., None, None]  # (hue, 3, 1, 1)
    for k in range(3):
        later = slice(bounds[k + 1], end)  # stage > k
        blend_(x[later], *blends[:, later, k])
    adjust_hue_(x[:hue], offsets)
    for k in range(3):
        earlier = slice(bounds[k + 1])  # stage ≤ k
        blend_(x[earlier], *blends[:, earlier, k])


def _blur_(x: Tensor, sigma: Tensor, runs: list[slice], kernel: tuple[int, int]) -> None:
    if not runs:
        return
    images = torch.cat([x[run] for run in runs])
    blurred = gaussian_blur(images, torch.cat([sigma[run] for run in runs]), kernel)
    lengths = [run.stop - run.start for run in runs]
    for run, part in zip(runs, blurred.split(lengths), strict=True):
        x[run] = part


def _runs(mask: Tensor) -> list[slice]:
    """The runs of true values.

    >>> _runs(torch.tensor([True, True, False, True]))
    [slice(0, 2, None), slice(3, 4, None)]
    """
    edges = torch.nn.functional.pad(mask.int(), (1, 1)).diff().nonzero().flatten().tolist()
    return [slice(*edge) for edge in zip(edges[::2], edges[1::2], strict=True)]


def _to(device: torch.device, tensor: Tensor) -> Tensor:
    return tensor.to(device, non_blocking=True)
