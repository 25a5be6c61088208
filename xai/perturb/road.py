"""Noisy linear imputation (ROAD): removed pixels become what their neighbours let expect.

Rong et al., arXiv 2202.00449. Every removed pixel is the weighted mean of its 8 neighbours, 1/6 each over
edges and 1/12 each over corners, renormalised at the image's border: a sparse linear system per image.
Written as (D − W)·x = W·(known pixels) it is symmetric positive definite, and all images of a batch and
their channels are solved together on the device, by conjugate gradients preconditioned with one multigrid
cycle. The weights are [1 2 1] ⊗ [1 2 1] without the centre, so they are applied by shifts and sums.

A coarser level keeps, per cell, the share of removed pixels `share` and the pull of the known pixels
`leak`; in two dimensions the weights between cells stay those between pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from xai.core import UsageError, XaiError

TOLERANCE = 5e-5
"""Stop when the estimated error, which is then taken off, is below this share of the known pixels' spread."""
_MOST_STEPS = 100
_FIRST_CHECK = 3
_DAMPING = 0.95
_COARSEST = 64  # cells that are solved at once
_CACHED = 2**18  # values that a processor's cache holds; an accelerator takes all at once


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
        if pixels.device.type != "cpu" or pixels.numel() <= _CACHED:
            return _impute(pixels, removed, noise)
        step = max(1, _CACHED // pixels[0].numel())
        noises = [None] * len(pixels) if noise is None else noise.split(step)
        parts = zip(pixels.split(step), removed.split(step), noises, strict=False)
        return torch.cat([_impute(*part) for part in parts])


def _impute(pixels: Tensor, removed: Tensor, noise: Tensor | None) -> Tensor:
    exact = pixels.to(torch.promote_types(pixels.dtype, torch.float32))
    hole = removed[:, None]
    known = (~hole).to(exact.dtype)
    count = known.sum((2, 3), keepdim=True)
    mean = torch.where(
        count > 0, (exact * known).sum((2, 3), keepdim=True) / count.clamp_min(1), exact.mean((2, 3), True)
    )
    offset = (exact - mean) * known  # the known pixels around 0: less to round, and 0 where all is removed
    filled = _solve(*_hierarchy(hole.to(exact.dtype), exact.shape[1]), offset) + mean
    if noise is not None:
        filled = filled + noise
    return torch.where(hole, filled.to(pixels.dtype), pixels)


class _Level:
    """One resolution of the system, for all images.

    Args:
        share: (S, 1, h, w) of removed pixels in a cell.
        leak: (S, 1, h, w) pull of the known pixels.
        channels: Of what it will be applied to.
    """

    def __init__(self, share: Tensor, leak: Tensor, channels: int):
        self.share = share
        self.diagonal = share * _around(share) + leak  # D, 12 times over
        self.jacobi = torch.where(self.diagonal > 0, _DAMPING / self.diagonal, 0)
        self.inside = (share > 0).to(share.dtype)
        images, _, height, width = share.shape
        # memory that is written over and over: fresh memory costs more than the arithmetic
        self.padded = share.new_zeros(images, channels, height + 2, width + 2)
        self.across = share.new_empty(images, channels, height + 2, width)

    def apply(self, x: Tensor) -> Tensor:
        """(D − W)·x, 12 times over."""
        return self._pulled(x).neg_().addcmul_(self.diagonal, x)

    def rest(self, residual: Tensor, x: Tensor) -> Tensor:
        """What x leaves of a residual."""
        return self._pulled(x).addcmul_(self.diagonal, x, value=-1).add_(residual)

    def _pulled(self, x: Tensor) -> Tensor:
        inner = self.padded[..., 1:-1, 1:-1]
        torch.mul(x, self.share, out=inner)
        return _sum_around(self.padded, self.across, inner).mul_(self.share)


def _hierarchy(hole: Tensor, channels: int) -> tuple[list[_Level], Tensor]:
    """The system from pixels to few cells, and the inverse (S, cells, cells) of the last."""
    share, leak = hole, hole * _around(1 - hole)
    levels = [_Level(share, leak, channels)]
    while share.shape[-2] * share.shape[-1] > _COARSEST:
        share = F.avg_pool2d(_even(share), 2)
        leak = 4 * F.avg_pool2d(_even(leak), 2)
        levels.append(_Level(share, leak, channels))
    images, _, height, width = share.shape
    cells = torch.eye(height * width, dtype=hole.dtype, device=hole.device).reshape(1, -1, height, width)
    matrix = _Level(share, leak, height * width).apply(cells.expand(images, -1, -1, -1)).flatten(2)
    # cells without removed pixels have an empty row; a system without known pixels would be singular
    diagonal = matrix.diagonal(dim1=1, dim2=2)
    return levels, torch.linalg.inv(matrix + torch.diag_embed(torch.where(diagonal > 0, diagonal * 1e-6, 1)))


def _solve(levels: list[_Level], last: Tensor, known: Tensor) -> Tensor:
    """Conjugate gradients for (D − W)·x = W·known; a system that has converged is left alone."""
    system = levels[0]
    residual = system.share * _around(known)
    enough = TOLERANCE * known.abs().amax((2, 3), keepdim=True)
    x = torch.zeros_like(known)
    guess = direction = _cycle(levels, last, residual)  # of what x still lacks
    energy = _dot(residual, guess)
    for step in range(1, _MOST_STEPS + 1):
        image = system.apply(direction)
        curvature = _dot(direction, image)
        active = (guess.abs().amax((2, 3), keepdim=True) > enough) & (curvature > 0)
        if step >= _FIRST_CHECK and not active.any():
            return x + guess
        length = torch.where(active, energy / curvature, 0)
        x.addcmul_(length, direction)
        residual.addcmul_(length, image, value=-1)
        guess = torch.where(active, _cycle(levels, last, residual), guess)
        before, energy = energy, _dot(residual, guess)
        direction = torch.addcmul(guess, torch.where(active, energy / before, 0), direction)
    raise XaiError(f"ROAD imputation did not converge in {_MOST_STEPS} steps.", "Are the pixels finite?")


def _cycle(levels: list[_Level], last: Tensor, residual: Tensor) -> Tensor:
    """Error that belongs to a residual, estimated by one symmetric V-cycle."""
    level, *coarser = levels
    if not coarser:
        return (residual.flatten(2) @ last).reshape(residual.shape)
    error = residual * level.jacobi
    rest = _cycle(coarser, last, _restrict(_even(level.rest(residual, error))))
    height, width = residual.shape[-2:]
    error.addcmul_(_prolong(rest)[..., :height, :width], level.inside)
    return error.addcmul_(level.rest(residual, error), level.jacobi)


def _around(x: Tensor) -> Tensor:
    """Sum over the 8 neighbours, 2 over edges and 1 over corners, 0 beyond the border."""
    padded = F.pad(x, (1, 1, 1, 1))
    return _sum_around(padded, torch.empty_like(padded[..., 1:-1]), x)


def _sum_around(padded: Tensor, across: Tensor, centre: Tensor) -> Tensor:
    torch.add(padded[..., :-2], padded[..., 2:], out=across).add_(padded[..., 1:-1], alpha=2)
    both = across[..., :-2, :] + across[..., 2:, :]
    return both.add_(across[..., 1:-1, :], alpha=2).sub_(centre, alpha=4)


def _prolong(x: Tensor) -> Tensor:
    """Twice the resolution, linear between cell centres, constant beyond the outermost."""
    for dim in (2, 3):
        last = x.shape[dim] - 1
        fine = x.new_empty(*x.shape[: dim + 1], 2, *x.shape[dim + 1 :])
        first, second = fine.unbind(dim + 1)
        torch.mul(x, 0.75, out=first)
        second.copy_(first)
        first.narrow(dim, 1, last).add_(x.narrow(dim, 0, last), alpha=0.25)
        second.narrow(dim, 0, last).add_(x.narrow(dim, 1, last), alpha=0.25)
        first.narrow(dim, 0, 1).add_(x.narrow(dim, 0, 1), alpha=0.25)
        second.narrow(dim, last, 1).add_(x.narrow(dim, last, 1), alpha=0.25)
        x = fine.flatten(dim, dim + 1)
    return x


def _restrict(x: Tensor) -> Tensor:
    """The transpose of `_prolong`: half the resolution."""
    for dim in (2, 3):
        x = x.unflatten(dim, (-1, 2))
        first, second = x.select(dim + 1, 0), x.select(dim + 1, 1)
        last = first.shape[dim] - 1
        x = (first + second).mul_(0.75)
        x.narrow(dim, 0, last).add_(first.narrow(dim, 1, last), alpha=0.25)
        x.narrow(dim, 1, last).add_(second.narrow(dim, 0, last), alpha=0.25)
        x.narrow(dim, 0, 1).add_(first.narrow(dim, 0, 1), alpha=0.25)
        x.narrow(dim, last, 1).add_(second.narrow(dim, last, 1), alpha=0.25)
    return x


def _even(x: Tensor) -> Tensor:
    """Zeros added below and to the right where a side is odd."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, width % 2, 0, height % 2)) if height % 2 or width % 2 else x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((2, 3), keepdim=True)


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
