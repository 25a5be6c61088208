"""Sobol indices: how much of the score's variance a region's visibility explains, interactions included."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.quasirandom import SobolEngine

from xai.attr.base import MethodInfo, PatchAttribution, PatchMaps, Pixels
from xai.attr.batching import arguments_of, variant_scores
from xai.attr.registry import register
from xai.core import UsageError, derive_seed
from xai.core.target import Target
from xai.perturb import AnyOperator, baseline_images, operator_of


@register
class SobolIndices(PatchAttribution):
    """Total Sobol index of every cell of a coarse grid: `S_T(i) = E[Var(y | m_¬i)] / Var(y)`.

    Each cell i has a visibility m_i ~ U(0, 1): its pixels are `m_i x + (1 − m_i) x'`, x' the image with all
    removed. Estimated after Jansen from two quasi-random designs A and B of N rows,
    `S_T(i) = 1/(2N) Σ_n (y(A_n) − y(A_n with m_i of B_n))² / Var(y(A))`, the paper's default. Indices have no
    sign: a cell counts alike whether it speaks for or against the target. All images share the designs.

    Args:
        forward_func: See `PatchAttribution`.
        n_designs: Rows N; `n_designs · (cells² + 1)` forward passes.
        cells: Cells a side, at most the patch grid's.
        operator: What x' is: an operator of `xai.perturb` that paints pixels (name, mapping, or itself).
        seed: Another seed scrambles the designs anew.
        internal_batch_size: Images per forward pass; memory grows with it, the result does not change.
    """

    info = MethodInfo(
        name="sobol_indices",
        family="perturbation",
        class_sensitive=True,
        signed=False,
        forwards=1000,
        backwards=0,
        reference="Fel et al. 2021, arXiv 2111.04138",
        summary="Share of the score's variance that a region's visibility explains, with its interactions.",
        deterministic=False,
    )

    def __init__(
        self,
        forward_func: nn.Module,
        n_designs: int = 20,
        cells: int = 7,
        operator: AnyOperator = "mean",
        seed: int = 0,
        internal_batch_size: int = 32,
    ):
        super().__init__(forward_func)
        if n_designs < 2 or cells < 1 or internal_batch_size < 1:
            raise UsageError(
                f"n_designs={n_designs}, cells={cells}, internal_batch_size={internal_batch_size} is out of "
                "range: n_designs ≥ 2, cells ≥ 1, internal_batch_size ≥ 1."
            )
        self._operator = operator_of(operator)
        self.n_designs, self.cells, self.operator = n_designs, cells, self._operator.describe()
        self.seed, self.internal_batch_size = seed, internal_batch_size

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        images, grid = len(pixels), self._grid(pixels)
        rows, cols = min(self.cells, grid.rows), min(self.cells, grid.cols)
        designs = jansen_designs(self.n_designs, rows * cols, derive_seed(self.seed, "sobol", rows, cols))
        masks = designs.flatten(0, 1).unflatten(1, (rows, cols)).to(pixels.device)
        hidden = baseline_images(self._operator, self.model, pixels, self.seed)
        size = pixels.shape[-2:]

        def forward(image: Tensor, variant: Tensor) -> Any:
            at = image.to(pixels.device)
            visible = enlarge(masks[variant.to(at.device)], size)[:, None].to(pixels.dtype)
            return self.model(torch.lerp(hidden[at], pixels[at], visible), *arguments_of(args, image, images))

        y = variant_scores(forward, images, len(masks), targets, self.internal_batch_size)
        indices = total_indices(y.unflatten(-1, (-1, self.n_designs))).unflatten(-1, (rows, cols))
        return enlarge(indices.flatten(0, 1), (grid.rows, grid.cols)).unflatten(0, (len(targets), images))


def jansen_designs(count: int, players: int, seed: int) -> Float[Tensor, "designs n players"]:
    """A, then A with each column of B in turn: (players + 1, n, players) in [0, 1)."""
    drawn = SobolEngine(2 * players, scramble=True, seed=seed % 2**31).draw(count)
    first, second = drawn.split(players, dim=1)
    swapped = torch.eye(players, dtype=torch.bool)[:, None]
    return torch.cat([first[None], torch.where(swapped, second, first)])


def total_indices(y: Float[Tensor, "targets b designs n"]) -> Float[Tensor, "targets b players"]:
    """Jansen's estimate from the scores of `jansen_designs`; 0 where the score never moves."""
    change = (y[..., 1:, :] - y[..., :1, :]).square().mean(-1) / 2
    variance = y[..., 0, :].var(-1, keepdim=True)
    return torch.where(variance > 0, change / variance.clamp_min(torch.finfo(y.dtype).tiny), 0.0)


def enlarge(cells: Float[Tensor, "n rows cols"], size: Sequence[int]) -> Float[Tensor, "n height width"]:
    """Every cell over the pixels (or patches) it covers."""
    (height, width), (rows, cols) = size, cells.shape[1:]
    row = torch.arange(height, device=cells.device) * rows // height
    col = torch.arange(width, device=cells.device) * cols // width
    return cells.index_select(1, row).index_select(2, col)
