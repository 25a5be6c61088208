"""Noisy linear imputation (ROAD): removed pixels become what their neighbours let expect.

Rong et al., arXiv 2202.00449. Every removed pixel is the weighted mean of its 8 neighbours, 1/6 each over
edges and 1/12 each over corners, renormalised at the image's border: a sparse linear system per image.
Written as A·x = (D − W)·x = W·(known pixels) it is symmetric positive definite, and all images of a batch and
their channels are solved together on the device, by conjugate gradients preconditioned with one multigrid
cycle. The weights are [1 2 1] ⊗ [1 2 1] without the centre, so they are applied by shifts and sums.

A coarser level keeps every other row and column, and A becomes Pᵀ·A·P with P the linear interpolation
between them, nothing at known pixels: 9 weights per cell, found by sending 9 combs of cells through it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai.core import UsageError, XaiError
from xai.perturb.operator import Operator, on_pixels, register
from xai.perturb.replace import image_noise

TOLERANCE = 5e-5
"""Stop when the estimated error, which is then taken off, is below this share of the known pixels' spread."""
_MOST_STEPS = 100
_FIRST_CHECK = 3
_DAMPING = 0.95
_COARSEST = 64  # cells that are solved at once
_CACHED = 2**20  # values that a processor takes at once, for its cache; an accelerator takes all


@register
@dataclass(frozen=True)
class Road(Operator):
    """Noisy linear imputation (Rong et al. 2022, arXiv 2202.00449), solved on the device.

    The paper imputes before normalisation. Imputing is affine, so normalised pixels give the same; the noise
    is scaled to them where the classifier says how it normalises, else it is taken to be in their units.

    Args:
        noise: Standard deviation, for pixels in [0, 1]; drawn once per image.
    """

    name: ClassVar[str] = "road"
    noise: float = 0.01

    def __post_init__(self) -> None:
        if not self.noise >= 0:
            raise UsageError(f"noise={self.noise} must be 0 or more.")

    def prepare(self, classifier: nn.Module, pixels: Tensor, seeds: Sequence[int]) -> Tensor | None:
        """The noise, (B, 3, H, W)."""
        if not self.noise:
            return None
        noise = image_noise(pixels, seeds) * self.noise
        steps = getattr(classifier, "preprocessing", None)
        if steps is not None:
            noise *= 255 * steps.scale / noise.new_tensor(steps.std).view(-1, 1, 1)
        return noise

    def logits(
        self, classifier: nn.Module, pixels: Tensor, baseline: Tensor | None, removed: Tensor, seeds: Tensor
    ) -> Tensor:
        removed = on_pixels(removed, (pixels.shape[-2], pixels.shape[-1]))
        return classifier(impute(pixels, removed, baseline))


@torch.no_grad()
def impute(pixels: Tensor, removed: Tensor, noise: Tensor | None = None) -> Tensor:
    """Fill removed pixels by linear interpolation from the kept ones, then add noise to them.

    The solution commutes with any affine change of a channel, so normalised pixels may be given as they
    are; the paper's noise (standard deviation 0.01 on [0, 1]) then has to be scaled by the caller. What an
    image gets does not depend on the others of the batch. No gradient passes through it.

    An image with every pixel removed has no equation to solve (the paper's system is singular there): it
    becomes the mean of each channel, the only constant that the image itself suggests.

    Args:
        pixels: (S, channels, H, W), finite.
        removed: (S, H, W) bool, True where the pixel is unknown.
        noise: (S, channels, H, W) added where pixels were removed.

    Returns:
        (S, channels, H, W) in the pixels' dtype, kept pixels untouched; computed in float32 at least.
    """
    _check(pixels, removed, noise)
    with torch.autocast(pixels.device.type, enabled=False):
        on_cpu, scratch = pixels.device.type == "cpu", _Scratch()
        at_once = max(1, _CACHED // pixels.shape[1:].numel()) if on_cpu else len(pixels)
        if len(pixels) <= at_once:
            return _impute(pixels, removed, noise, scratch)
        noises = [None] * len(pixels) if noise is None else noise.split(at_once)
        parts = zip(pixels.split(at_once), removed.split(at_once), noises, strict=False)
        return torch.cat([_impute(*part, scratch) for part in parts])


def _impute(pixels: Tensor, removed: Tensor, noise: Tensor | None, scratch: "_Scratch") -> Tensor:
    exact = pixels.to(torch.promote_types(pixels.dtype, torch.float32))
    hole = removed[:, None]
    known = (~hole).to(exact.dtype)
    count = known.sum((2, 3), keepdim=True)
    mean = torch.where(
        count > 0, (exact * known).sum((2, 3), keepdim=True) / count.clamp_min(1), exact.mean((2, 3), True)
    )
    offset = (exact - mean) * known  # the known pixels around 0: less to round, and 0 where all is removed
    filled = _solve(*_hierarchy(hole.to(exact.dtype), offset.shape[1], scratch), offset).add_(mean)
    if noise is not None:
        filled.add_(noise)
    return torch.where(hole, filled.to(pixels.dtype), pixels)


class _Scratch:
    """Memory by use and shape, written over and over: fresh memory costs more than the arithmetic."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, torch.Size], Tensor] = {}

    def __call__(self, use: str, like: Tensor, *sides: int) -> Tensor:
        """(S, channels, *sides) as it was left, 0 at first; S, channels, dtype and device of `like`."""
        shape = torch.Size((*like.shape[:2], *sides))
        if (use, shape) not in self.held:
            self.held[use, shape] = like.new_zeros(shape)
        return self.held[use, shape]


class _Pixels:
    """The system between pixels, 12 times over; vectors are 0 at known pixels, results are not.

    Args:
        hole: (S, 1, H, W), 1 where a pixel is unknown, else 0.
        scratch: For results, which hold until the next of their shape.
    """

    def __init__(self, hole: Tensor, scratch: _Scratch):
        self.inside, self.scratch = hole, scratch
        everything = torch.ones_like(hole[:1])
        self.centre = _weighted_sum(everything, _Scratch())  # D, and the 4 in the sum below
        self.jacobi = hole * (_DAMPING / (self.centre - 4))

    def pull(self, x: Tensor) -> Tensor:
        """−A·x: what the neighbours add to a pixel, less what it takes itself."""
        return _weighted_sum(x, self.scratch).addcmul_(self.centre, x, value=-1)


class _Cells:
    """The system between the cells of a coarser level.

    Args:
        weights: (S, 9, h, w) entries of −A in the row of each cell, its neighbourhood row by row.
        scratch: As of `_Pixels`.
    """

    def __init__(self, weights: Tensor, scratch: _Scratch):
        self.scratch = scratch
        self.weights = weights.split(1, dim=1)
        own = -self.weights[4]
        self.inside = (own > 0).to(own.dtype)
        self.jacobi = torch.where(own > 0, _DAMPING / own, 0)

    def pull(self, x: Tensor) -> Tensor:
        """−A·x."""
        padded = _padded(x, self.scratch)
        height, width = x.shape[-2:]
        result = torch.mul(x, self.weights[4], out=self.scratch("sum", x, height, width))
        for place, weight in enumerate(self.weights):
            if place != 4:
                row, col = divmod(place, 3)
                result.addcmul_(weight, padded[..., row : row + height, col : col + width])
        return result


_Level = _Pixels | _Cells


def _coarser(level: _Level, channels: int) -> _Cells:
    """Pᵀ·A·P. Cells three apart share no neighbour, so one comb of them gives one weight of every cell."""
    inside, scratch = level.inside, level.scratch
    row, col = (torch.arange(-(-side // 2), device=inside.device) % 3 for side in inside.shape[-2:])
    combs = F.one_hot(3 * row[:, None] + col, 9).permute(2, 0, 1).to(inside.dtype)
    found = [
        _restrict(level.pull(_prolong(some, inside, scratch).mul_(inside)), inside, scratch).clone()
        for some in combs.expand(len(inside), -1, -1, -1).split(channels, dim=1)  # as many as the scratch has
    ]
    shift = torch.arange(3, device=row.device)[:, None] - 1
    rows, cols = ((side + shift) % 3 for side in (row, col))
    neighbour = (3 * rows[:, None, :, None] + cols[None, :, None, :]).flatten(0, 1)
    return _Cells(torch.cat(found, 1).gather(1, neighbour.expand(len(inside), -1, -1, -1)), scratch)


def _hierarchy(hole: Tensor, channels: int, scratch: _Scratch) -> tuple[list[_Level], Tensor]:
    """The system from pixels to few cells, and the inverse (S, cells, cells) of the last."""
    levels: list[_Level] = [_Pixels(hole, scratch)]
    while (level := levels[-1]).inside.shape[-2] * level.inside.shape[-1] > _COARSEST:
        levels.append(_coarser(level, channels))
    height, width = level.inside.shape[-2:]
    cells = torch.eye(height * width, dtype=hole.dtype, device=hole.device).reshape(1, -1, height, width)
    matrix = -(level.pull(cells * level.inside) * level.inside).flatten(2)
    # cells without removed pixels have an empty row; a system without known pixels would be singular
    diagonal = matrix.diagonal(dim1=1, dim2=2)
    inverse = torch.linalg.inv(matrix + torch.diag_embed(torch.where(diagonal > 0, diagonal * 1e-6, 1)))
    return levels, inverse * level.inside.flatten(2)


def _solve(levels: list[_Level], last: Tensor, known: Tensor) -> Tensor:
    """Conjugate gradients for A·x = W·known; a system that has converged is left alone."""
    system = levels[0]
    x, residual, direction, product = (
        system.scratch(use, known, *known.shape[-2:]) for use in ("x", "residual", "direction", "product")
    )

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return torch.mul(a, b, out=product).sum((2, 3), keepdim=True)

    def largest(a: Tensor) -> Tensor:
        return torch.abs(a, out=product).amax((2, 3), keepdim=True)

    x.zero_()
    residual.copy_(system.pull(known))  # nothing of a known pixel is taken at an unknown one
    enough = TOLERANCE * largest(known)
    guess = _cycle(levels, last, residual)  # of what x still lacks; the next takes its place in memory
    direction.copy_(guess)
    energy = dot(residual, guess)
    for step in range(1, _MOST_STEPS + 1):
        change = system.pull(direction)
        curvature = -dot(direction, change)
        active = (largest(guess) > enough) & (curvature > 0)
        if step >= _FIRST_CHECK and not active.any():
            return x.add_(guess)
        length = torch.where(active, energy / curvature, 0)
        x.addcmul_(length, direction)
        residual.addcmul_(length, change)
        guess = _cycle(levels, last, residual)
        before, energy = energy, dot(residual, guess)
        direction.mul_(torch.where(active, energy / before, 0)).add_(guess)
    raise XaiError(f"ROAD imputation did not converge in {_MOST_STEPS} steps.")


def _cycle(levels: list[_Level], last: Tensor, residual: Tensor) -> Tensor:
    """Error that belongs to a residual, estimated by one symmetric V-cycle."""
    level, *coarser = levels
    if not coarser:
        return (residual.flatten(2) @ last).reshape(residual.shape)
    error = torch.mul(residual, level.jacobi, out=level.scratch("error", residual, *residual.shape[-2:]))
    rest = _restrict(level.pull(error).add_(residual), level.inside, level.scratch)
    error.addcmul_(_prolong(_cycle(coarser, last, rest), level.inside, level.scratch), level.inside)
    return error.addcmul_(level.pull(error).add_(residual), level.jacobi)


def _padded(x: Tensor, scratch: _Scratch) -> Tensor:
    """The same with zeros around it."""
    height, width = x.shape[-2:]
    padded = scratch("padded", x, height + 2, width + 2)
    padded[..., 1:-1, 1:-1] = x
    return padded


def _weighted_sum(x: Tensor, scratch: _Scratch) -> Tensor:
    """[1 2 1] ⊗ [1 2 1], 0 beyond the border."""
    height, width = x.shape[-2:]
    padded, across = _padded(x, scratch), scratch("across", x, height + 2, width)
    torch.add(padded[..., :-2], padded[..., 2:], out=across).add_(padded[..., 1:-1], alpha=2)
    result = scratch("sum", x, height, width)
    return torch.add(across[..., :-2, :], across[..., 2:, :], out=result).add_(across[..., 1:-1, :], alpha=2)


def _prolong(x: Tensor, inside: Tensor, scratch: _Scratch) -> Tensor:
    """Twice the resolution: 4·P·x, still to be set to 0 at known pixels.

    Beyond the last row or column values stay what they are.
    """
    for dim in (3, 2):
        last = x.shape[dim] - 1
        sides = [x.shape[2] * (1 + (dim == 2)), x.shape[3] * (1 + (dim == 3))]
        fine = scratch("fine", x, *sides)
        own, between = fine.unflatten(dim, (-1, 2)).unbind(dim + 1)
        torch.add(x, x, out=own)
        torch.add(x.narrow(dim, 0, last), x.narrow(dim, 1, last), out=between.narrow(dim, 0, last))
        between.select(dim, last).copy_(own.select(dim, last))
        x = fine
    height, width = inside.shape[-2:]
    return x[..., :height, :width]


def _restrict(x: Tensor, inside: Tensor, scratch: _Scratch) -> Tensor:
    """The transpose of `_prolong`, with what it leaves to be done: half the resolution; x is used up."""
    height, width = x.shape[-2:]
    x = x.mul_(inside)
    x = F.pad(x, (0, width % 2, 0, height % 2)) if height % 2 or width % 2 else x
    for dim, use in ((2, "halfway"), (3, "coarse")):
        own, between = x.unflatten(dim, (-1, 2)).unbind(dim + 1)
        last = own.shape[dim] - 1
        x = torch.add(between, own, alpha=2, out=scratch(use, own, *own.shape[-2:]))
        x.narrow(dim, 1, last).add_(between.narrow(dim, 0, last))
        x.select(dim, last).add_(between.select(dim, last))
    return x


def _check(pixels: Tensor, removed: Tensor, noise: Tensor | None) -> None:
    if pixels.dim() != 4 or not pixels.is_floating_point():
        raise UsageError(
            "Pixels must be floating point of shape (S, channels, H, W); "
            f"got {pixels.dtype} {tuple(pixels.shape)}."
        )
    expected = (len(pixels), *pixels.shape[2:])
    if removed.dtype != torch.bool or tuple(removed.shape) != expected:
        raise UsageError(
            f"Removed pixels must be a bool tensor of shape {expected}; "
            f"got {removed.dtype} {tuple(removed.shape)}.",
            "Give one mask per image, True where a pixel is to be filled.",
        )
    if noise is not None and noise.shape != pixels.shape:
        raise UsageError(f"The noise is {tuple(noise.shape)}, the pixels are {tuple(pixels.shape)}.")
