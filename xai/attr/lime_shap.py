"""Patches as players: LIME, KernelSHAP and Shapley value sampling.

All ask for the score of many coalitions, sets of patches that are present while the others are removed. The
coalitions depend on grid and seed alone, so all images share them and the regressions' matrices, and an
image gets the same map alone as in a batch.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xai.attr.base import MethodInfo, PatchMaps, Pixels
from xai.attr.registry import register
from xai.attr.removal import RemovalAttribution
from xai.core import UsageError, derive_seed
from xai.core.options import check_counts
from xai.core.target import Target
from xai.perturb import AnyOperator

Present = Bool[Tensor, "coalitions patches"]
Values = Float[Tensor, "targets b coalitions"]


class _CoalitionAttribution(RemovalAttribution):
    """A method that is a function of the scores of coalitions."""

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        grid = self._grid(pixels)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.info.name, grid.patches))
        present = self._coalitions(grid.patches, generator)
        removed = ~present.view(-1, grid.rows, grid.cols)
        values = self._scores_without(pixels, removed, targets, args)
        shares = self._shares(present.to(values.device), values.double())
        return shares.to(values.dtype).unflatten(-1, (grid.rows, grid.cols))

    @abstractmethod
    def _coalitions(self, patches: int, generator: torch.Generator) -> Present:
        """Which patches are present, (coalitions, patches)."""

    @abstractmethod
    def _shares(self, present: Present, values: Values) -> Float[Tensor, "targets b patches"]:
        """Relevance from the scores, in double precision."""


@register
class ShapleyValueSampling(_CoalitionAttribution):
    """Mean marginal contribution over random orders: `φ_j = E_π[y(before j in π, and j) − y(before j in π)]`.

    Patches join in a random order and in its reverse (antithetic pairs). Complete in every order: relevance
    sums to y(x) − y(all patches removed).

    Args:
        forward_func: See `PatchAttribution`.
        n_samples: Orders; each costs as many forward passes as there are patches, less one.
        operator: What absence means: an operator of `xai.perturb` by name, a mapping with its name and
            parameters, or itself.
        seed: Another seed draws other orders.
        internal_batch_size: Images per forward pass; memory grows with it, the result does not change.
    """

    info = MethodInfo(
        name="shapley_value_sampling",
        family="perturbation",
        class_sensitive=True,
        signed=True,
        forwards=782,  # 4 orders of 14 × 14 patches
        backwards=0,
        reference="Castro et al. 2009, doi 10.1016/j.cor.2008.04.004; Strumbelj and Kononenko 2010",
        summary="Mean contribution of a patch that joins the others in random orders.",
        deterministic=False,
        complete=True,
    )

    def __init__(
        self,
        forward_func: nn.Module,
        n_samples: int = 4,
        operator: AnyOperator = "mean",
        seed: int = 0,
        internal_batch_size: int = 32,
    ):
        super().__init__(forward_func, operator, seed, internal_batch_size)
        check_counts(n_samples=n_samples)
        self.n_samples = n_samples

    def _coalitions(self, patches: int, generator: torch.Generator) -> Present:
        orders: list[Tensor] = []
        while len(orders) < self.n_samples:
            order = torch.randperm(patches, generator=generator)
            orders += [order, order.flip(0)]
        places = torch.stack([order.argsort() for order in orders[: self.n_samples]])
        # nothing and everything are the same coalition in every order: asked for once, as the first two
        sizes = torch.arange(1, patches)
        growing = places[:, None] < sizes[:, None]
        ends = torch.tensor([[False], [True]]).expand(2, patches)
        return torch.cat([ends, growing.flatten(0, 1)])

    def _shares(self, present: Present, values: Values) -> Float[Tensor, "targets b patches"]:
        patches = present.shape[1]
        inner = values[..., 2:].unflatten(-1, (self.n_samples, patches - 1))
        start, end = (values[..., i, None, None].expand(*inner.shape[:-1], 1) for i in range(2))
        gains = torch.cat([start, inner, end], dim=-1).diff(dim=-1)
        # size at which each patch is present for the first time = its place in the order
        places = patches - 1 - present[2:].view(self.n_samples, patches - 1, patches).sum(1)
        return gains.gather(-1, places.expand_as(gains)).mean(-2)


@register
class KernelSHAP(_CoalitionAttribution):
    """Shapley values as the weighted least squares of coalitions' scores.

    `min_φ Σ_z π(z) (y(z) − y(∅) − Σ_{j ∈ z} φ_j)²` under `Σ_j φ_j = y(x) − y(∅)`, with the Shapley kernel
    `π(z) = (P − 1) / (C(P, |z|) |z| (P − |z|))`. Coalitions are drawn with probability proportional to π,
    each with its complement, so they count equally in the regression; the constraint is solved exactly.

    Args:
        forward_func: See `PatchAttribution`.
        n_samples: Coalitions, besides the empty and the full one. Fewer than patches leave the regression
            underdetermined: the solution of least norm is taken.
        operator: What absence means, as in `ShapleyValueSampling`.
        seed: Another seed draws other coalitions.
        internal_batch_size: Images per forward pass; memory grows with it, the result does not change.
    """

    info = MethodInfo(
        name="kernel_shap",
        family="perturbation",
        class_sensitive=True,
        signed=True,
        forwards=1000,
        backwards=0,
        reference="Lundberg and Lee 2017, arXiv 1705.07874; paired draws: Covert and Lee, arXiv 2012.01536",
        summary="Shapley values of patches by weighted regression on random coalitions.",
        deterministic=False,
        complete=True,
    )

    def __init__(
        self,
        forward_func: nn.Module,
        n_samples: int = 998,
        operator: AnyOperator = "mean",
        seed: int = 0,
        internal_batch_size: int = 32,
    ):
        super().__init__(forward_func, operator, seed, internal_batch_size)
        if n_samples < 2:
            raise UsageError(f"n_samples={n_samples}: 2 or more are needed.")
        self.n_samples = n_samples

    def _coalitions(self, patches: int, generator: torch.Generator) -> Present:
        ends = torch.tensor([[False], [True]]).expand(2, patches)
        if patches == 1:
            return ends
        sizes = torch.arange(1, patches)
        # π summed over the coalitions of one size
        weight = (patches - 1) / (sizes * (patches - sizes)).double()
        pairs = -(-self.n_samples // 2)
        drawn = sizes[torch.multinomial(weight, pairs, replacement=True, generator=generator)]
        places = torch.rand(pairs, patches, generator=generator).argsort(1).argsort(1)
        half = places < drawn[:, None]
        both = torch.stack([half, ~half], 1).flatten(0, 1)[: self.n_samples]
        return torch.cat([ends, both])

    def _shares(self, present: Present, values: Values) -> Float[Tensor, "targets b patches"]:
        return constrained_least_squares(
            present[2:].double(), values[..., 2:], values[..., 0], values[..., 1]
        )


def constrained_least_squares(
    design: Float[Tensor, "coalitions patches"],
    values: Values,
    empty: Float[Tensor, "targets b"],
    full: Float[Tensor, "targets b"],
) -> Float[Tensor, "targets b patches"]:
    """`min_φ Σ (y − y(∅) − Zφ)²` under `Σ φ = y(x) − y(∅)`, of least norm where several solve it.

    φ = (total / P)·1 + Nψ with N an orthonormal basis of what sums to 0.
    """
    patches = design.shape[1]
    total = (full - empty)[..., None]
    even = total / patches
    centred = design - design.mean(1, keepdim=True)  # Z N Nᵀ: sums of rows play no part beside the constraint
    rest = values - empty[..., None] - even * design.sum(1)
    return even + rest @ torch.linalg.pinv(centred).T


@register
class LIME(_CoalitionAttribution):
    """Weights of a local linear model of the score in which patches are present.

    `min_{w, b} Σ_z exp(−d(z)²/σ²) (y(z) − b − w·z)² + λ‖w‖²`, where each patch is present with probability
    1/2 and d is the cosine distance of z from the whole image, `1 − √(|z|/P)`. Patches stand for the
    paper's superpixels; ridge regression and its λ are those of the authors' program for images.

    Args:
        forward_func: See `PatchAttribution`.
        n_samples: Coalitions, the whole image among them.
        kernel_width: σ.
        ridge: λ.
        operator: What absence means, as in `ShapleyValueSampling`.
        seed: Another seed draws other coalitions.
        internal_batch_size: Images per forward pass; memory grows with it, the result does not change.
    """

    info = MethodInfo(
        name="lime",
        family="perturbation",
        class_sensitive=True,
        signed=True,
        forwards=1000,
        backwards=0,
        reference="Ribeiro et al. 2016, arXiv 1602.04938, eq. 2",
        summary="A linear model of the score, fitted to random subsets of patches near the whole image.",
        deterministic=False,
    )

    def __init__(
        self,
        forward_func: nn.Module,
        n_samples: int = 1000,
        kernel_width: float = 0.25,
        ridge: float = 1.0,
        operator: AnyOperator = "mean",
        seed: int = 0,
        internal_batch_size: int = 32,
    ):
        super().__init__(forward_func, operator, seed, internal_batch_size)
        if n_samples < 2 or kernel_width <= 0 or ridge < 0:
            raise UsageError(
                f"n_samples={n_samples}, kernel_width={kernel_width}, ridge={ridge} is out of range: "
                "n_samples ≥ 2, kernel_width > 0, ridge ≥ 0."
            )
        self.n_samples, self.kernel_width, self.ridge = n_samples, kernel_width, ridge

    def _coalitions(self, patches: int, generator: torch.Generator) -> Present:
        drawn = torch.rand(self.n_samples - 1, patches, generator=generator) < 0.5
        return torch.cat([torch.ones(1, patches, dtype=torch.bool), drawn])

    def _shares(self, present: Present, values: Values) -> Float[Tensor, "targets b patches"]:
        design = present.double()
        distance = 1 - design.mean(1).sqrt()
        weight = torch.exp(-((distance / self.kernel_width) ** 2))
        weight = weight / weight.max()  # keeps λ's meaning: the whole image counts once
        mean = (weight @ design) / weight.sum()
        centred = design - mean
        gram = centred.T @ (weight[:, None] * centred)
        gram.diagonal().add_(self.ridge)
        right = ((values - (values @ weight / weight.sum())[..., None]) * weight) @ centred
        return right @ torch.linalg.pinv(gram, hermitian=True)
