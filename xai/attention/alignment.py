"""Whether the tokens of a model lie where its grid says: found from the graph between pixels and values."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai.attention.intercept import ALTERNATIVES, UnseenAttentionError
from xai.core import ModelError, PatchGrid
from xai.core.explanation import GRID_HINT

_HERE = 0.1  # share of the gradient that at least comes from the place itself …
_THERE = 0.5  # … where this share comes from another one
_STRETCHED = (
    0.05  # of the image's sides that all patches together may cover more, or less; half a patch of ten
)
_ALONE = 0.02  # so near to a whole number is a pixel that feeds one token
_WITHOUT_IT = "Explain the model without that step, on images to which it was applied."
_TOLD_APART = 0.5  # share of the variance of tokens' numbers that pixels must show to say how rows run


def check_alignment(model: nn.Module, values: Iterable[Tensor], pixels: Tensor, grid: PatchGrid) -> None:
    """See which pixels the token of the upper right corner is made of, and how long the rows of tokens are.

    No turn or reflection of the image leaves that corner in its place, but the one about its own diagonal.

    Args:
        model: For messages.
        values: (B, H, tokens, e) values of attention calls that read no other attention, in the graph.
        pixels: (B, 3, H, W), the leaf of that graph.
        grid: The patch grid.

    Raises:
        ModelError: They lie far from it, together in another place.
        UnseenAttentionError: The tokens lie in rows of another length than the grid's; or all together cover
            more than the image, or only a part of it.
    """
    token = grid.prefix + grid.cols - 1
    for value in values:
        row = value[0, :, token]
        weights = torch.linspace(1, 2, row.numel(), dtype=row.dtype, device=row.device).view_as(row)
        (gradient,) = torch.autograd.grad(
            (row * weights).sum(), pixels, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        shares = F.adaptive_avg_pool2d(gradient[:1].abs().float().sum(1), (grid.rows, grid.cols))[0]
        shares = shares / shares.sum().clamp_min(torch.finfo(shares.dtype).tiny)
        top, left = divmod(int(shares.argmax()), grid.cols)
        here, there = _around(shares, 0, grid.cols - 1), _around(shares, top, left)
        if here < _HERE and there > _THERE:
            raise ModelError(
                f"The token of patch (0, {grid.cols - 1}) of {type(model).__name__} is made of pixels around "
                f"patch ({top}, {left}): the model turns, mirrors, crops or reorders the image, so its "
                "attention does not lie where the grid says.",
                f"{_WITHOUT_IT} {ALTERNATIVES}",
            )
        _check_rows(model, value, pixels, grid)


def _check_rows(model: nn.Module, value: Tensor, pixels: Tensor, grid: PatchGrid) -> None:
    """Read off every pixel the number of the token that it feeds, and how fast it grows along the image.

    The gradient of Σ w·v is at a pixel that of the tokens it feeds, that of Σ number·w·v the same times their
    number. Where a pixel feeds several, the ratio is a number between theirs. From left to right it grows by
    the length of a row of tokens, which is known so, whatever convolutions have blurred. Where it grows
    faster than the numbers of the grid do, the tokens see a part of the image only.
    """
    if value.shape[-2] != grid.tokens:
        return
    number = torch.arange(grid.patches, dtype=torch.float32, device=value.device) / grid.patches
    weights = torch.linspace(1, 2, value.shape[-1], dtype=value.dtype, device=value.device)

    def gradient(code: Tensor) -> Tensor:
        """∂(Σ code · w · v)/∂pixels of the first image, (3, H, W)."""
        (found,) = torch.autograd.grad(
            (value[0, :, grid.prefix :] * weights * code.to(value)[:, None]).sum(),
            pixels,
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return found[0].cpu().double()

    plain = gradient(torch.ones_like(number))
    power = plain.square().sum(0)
    if not power.any():
        return

    def fed(code: Tensor) -> Tensor:
        """(H, W) the code of the token that a pixel feeds."""
        return (plain * gradient(code)).sum(0) / power.clamp_min(torch.finfo(torch.float32).tiny)

    found = grid.patches * fed(number)
    share = power / power.sum()
    spread = float((share * (found - (share * found).sum()).square()).sum())
    if spread < _TOLD_APART * grid.patches**2 / 12:  # the variance of numbers that are each as frequent
        return
    down, along = (torch.arange(size) / size - 0.5 for size in power.shape)
    # weighted least squares: found = constant + slope down the image + slope along it
    planes = torch.stack([
        torch.ones_like(power), down[:, None].expand_as(power), along.expand_as(power)
    ]).double().flatten(1)  # fmt: skip
    weighted = planes * power.flatten()
    numbers = torch.stack([found, _numbers(grid, *power.shape)], dim=-1).flatten(0, 1)
    slopes, expected = torch.linalg.lstsq(weighted @ planes.T, weighted @ numbers).solution[1:].unbind(-1)
    growth = float(slopes[1])
    # the slope of a staircase of so many steps is a little less than their number
    off = {n: abs(growth - n + 1 / n) for n in range(1, grid.patches + 1) if grid.patches % n == 0}
    cols = min(off, key=lambda n: off[n])

    def agreement(length: int) -> float:
        """How well the tokens' rows and columns, were rows of this length, go with the image's, up to 2."""
        index = torch.arange(grid.patches, device=value.device)
        codes = (index // length / (grid.patches // length), planes[1]), (index % length / length, planes[2])
        return sum(_correlation(fed(code).flatten(), place, share.flatten()) ** 2 for code, place in codes)

    if off[cols] < off[grid.cols] / 2 and agreement(cols) > agreement(grid.cols):  # else noise of a deep stem
        raise UnseenAttentionError(
            f"The {grid.patches} patches of {type(model).__name__} lie on a grid of "
            f"{grid.patches // cols}×{cols}, not of {grid.rows}×{grid.cols}.",
            hint=f"Say that one: {GRID_HINT}.",
        )
    alone = (found - found.round()).abs() < _ALONE
    stretched = (slopes / expected)[torch.tensor([grid.rows, grid.cols]) > 1]  # one row has no slope
    if (
        float((share * alone).sum()) > 0.5  # where convolutions overlap, slopes say less
        and stretched.numel()
        and float((stretched - 1).abs().max()) > _STRETCHED
    ):
        raise UnseenAttentionError(
            f"The {grid.rows}×{grid.cols} patches of {type(model).__name__} do not cover the whole image and "
            "nothing else: the model crops or pads it, so its attention does not lie where the grid says.",
            hint=f"{_WITHOUT_IT} {ALTERNATIVES}",
        )


def _numbers(grid: PatchGrid, height: int, width: int) -> Tensor:
    """(height, width) number of the patch in which each pixel lies, float64."""
    row, col = torch.arange(height) * grid.rows // height, torch.arange(width) * grid.cols // width
    return (row[:, None] * grid.cols + col).double()


def _around(shares: Tensor, row: int, col: int) -> float:
    """Sum over a patch and its neighbours."""
    return float(shares[max(row - 1, 0) : row + 2, max(col - 1, 0) : col + 2].sum())


def _correlation(first: Tensor, second: Tensor, share: Tensor) -> float:
    """Pearson's, weighted by shares that sum to 1; 0 where one does not vary."""
    first, second = first - (share * first).sum(), second - (share * second).sum()
    powers = (share * first.square()).sum() * (share * second.square()).sum()
    return float((share * first * second).sum() / powers.sqrt()) if powers > 0 else 0.0
