"""Patches as players, against exact Shapley values, NumPy's regressions and Captum."""

from itertools import combinations
from math import comb

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation as CaptumFeatureAblation
from torch import Tensor, nn
from vit_zoo import build, pixels

from xai.attr import LIME, FeatureAblation, KernelSHAP, ShapleyValueSampling
from xai.attr.lime_shap import constrained_least_squares
from xai.core import Margin, UsageError

ZERO = {"name": "constant", "value": 0.0}


class Game(nn.Module):
    """Logits of the mean of each of 2 × 2 patches: linear terms and one product of all pairs."""

    patch_size = 16

    def __init__(self, pairs: float = 1.0) -> None:
        super().__init__()
        self.pairs = pairs
        self.weight = nn.Parameter(torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.2, 0.1, -1.0, 2.0]]))

    def forward(self, x: Tensor) -> Tensor:
        means = nn.functional.avg_pool2d(x, 16).mean(1).flatten(1)
        together = (means.sum(1) ** 2 - (means**2).sum(1)) / 2
        return means @ self.weight.T + self.pairs * together[:, None]


def value(model: nn.Module, image: Tensor, present: tuple[int, ...], target: int) -> float:
    mask = torch.zeros(4)
    mask[list(present)] = 1
    full = mask.view(2, 2).repeat_interleave(16, 0).repeat_interleave(16, 1)
    return float(model((image * full)[None])[0, target].detach())


def exact_shapley(model: nn.Module, image: Tensor, target: int) -> list[float]:
    shares = []
    for j in range(4):
        others = [k for k in range(4) if k != j]
        shares.append(
            sum(
                (value(model, image, (*s, j), target) - value(model, image, s, target)) / (4 * comb(3, size))
                for size in range(4)
                for s in combinations(others, size)
            )
        )
    return shares


@pytest.mark.parametrize("method", [ShapleyValueSampling, KernelSHAP])
def test_shapley_values_of_a_game_of_pairs_are_exact(method) -> None:
    """In a game of pairs one order and its reverse share every pair evenly, and the regression is exact."""
    model, x = Game(), pixels(3)
    got = method(model, 200, operator=ZERO).attribute_patches(x, 1)
    expected = torch.tensor([exact_shapley(model, image, 1) for image in x]).view(3, 2, 2)
    tolerance = 1e-5 if method is ShapleyValueSampling else 0.02
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("method", [ShapleyValueSampling, KernelSHAP])
def test_an_additive_game_needs_few_samples(method) -> None:
    model, x = Game(pairs=0.0), pixels(2)
    got = method(model, 40, operator=ZERO).attribute_patches(x, 0)
    means = nn.functional.avg_pool2d(x, 16).mean(1)
    torch.testing.assert_close(got, (means * model.weight[0].view(2, 2)).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", [ShapleyValueSampling, KernelSHAP])
@pytest.mark.parametrize("target", [1, Margin(2, 0)])
def test_relevance_sums_to_the_score_gained(method, target) -> None:
    model, x = build("clip"), pixels(2)
    got = method(model, 30, operator="mean").attribute_patches(x, target)
    empty = x.mean((2, 3), keepdim=True).expand_as(x)
    logits = [model(one).detach() for one in (x, empty)]
    if isinstance(target, Margin):
        scores = [one[:, 2] - one[:, 0] for one in logits]
    else:
        scores = [one[:, 1] for one in logits]
    torch.testing.assert_close(got.sum((1, 2)), scores[0] - scores[1], rtol=1e-4, atol=1e-5)


def test_the_kernels_regression_over_all_coalitions_gives_shapley_values() -> None:
    """Each size of four players counted as often as the Shapley kernel says: 2 : 1 : 2."""
    random = np.random.default_rng(0)
    scores = {s: random.normal() for size in range(5) for s in combinations(range(4), size)}
    rows = [s for s in scores for _ in range({1: 2, 2: 1, 3: 2}.get(len(s), 0))]
    design = torch.tensor([[float(j in s) for j in range(4)] for s in rows], dtype=torch.float64)
    got = constrained_least_squares(
        design,
        torch.tensor([[[scores[s] for s in rows]]], dtype=torch.float64),
        torch.tensor([[scores[()]]], dtype=torch.float64),
        torch.tensor([[scores[0, 1, 2, 3]]], dtype=torch.float64),
    )
    for j in range(4):
        others = [k for k in range(4) if k != j]
        exact = sum(
            (scores[tuple(sorted((*s, j)))] - scores[s]) / (4 * comb(3, size))
            for size in range(4)
            for s in combinations(others, size)
        )
        assert float(got[0, 0, j]) == pytest.approx(exact)


def test_kernel_shap_draws_sizes_as_the_kernel_says_and_pairs_complements() -> None:
    method = KernelSHAP(build("clip"), 4000)
    present = method._coalitions(6, torch.Generator().manual_seed(0))[2:]
    assert torch.equal(present[0::2], ~present[1::2])
    sizes = torch.bincount(present.sum(1), minlength=7)[1:6] / 4000
    weight = torch.tensor([1 / (k * (6 - k)) for k in range(1, 6)])
    torch.testing.assert_close(sizes, weight / weight.sum(), rtol=0, atol=0.03)


def test_lime_is_the_weighted_ridge_regression_of_the_paper() -> None:
    model, x, samples = Game(), pixels(2), 60
    method = LIME(model, samples, kernel_width=0.4, ridge=0.5, operator=ZERO)
    seen: list[Tensor] = []
    original = method._coalitions
    method._coalitions = lambda *args: seen.append(original(*args)) or seen[0]
    got = method.attribute_patches(x, 1)
    design = seen[0].double().numpy()
    assert design[0].all()
    for image, relevance in zip(x, got, strict=True):
        y = np.array([value(model, image, tuple(np.flatnonzero(z)), 1) for z in design])
        cosine = design.sum(1) / np.sqrt(np.maximum(design.sum(1), 1e-12) * 4)
        root = np.exp(-(((1 - cosine) / 0.4) ** 2)) ** 0.5
        columns = np.column_stack([design, np.ones(samples)]) * root[:, None]
        penalty = np.diag([0.5] * 4 + [0.0])
        weights = np.linalg.solve(columns.T @ columns + penalty, columns.T @ (y * root))
        np.testing.assert_allclose(relevance.ravel().numpy(), weights[:4], rtol=1e-4, atol=1e-5)


def test_lime_of_an_additive_game_without_ridge_is_exact() -> None:
    model, x = Game(pairs=0.0), pixels(2)
    got = LIME(model, 40, ridge=0.0, operator=ZERO).attribute_patches(x, 0)
    means = nn.functional.avg_pool2d(x, 16).mean(1)
    torch.testing.assert_close(got, (means * model.weight[0].view(2, 2)).detach(), rtol=1e-3, atol=1e-4)


def test_feature_ablation_is_captums() -> None:
    model, x = build("clip"), pixels()
    places = torch.arange(16).view(4, 4).repeat_interleave(8, 0).repeat_interleave(8, 1)
    captum = CaptumFeatureAblation(model).attribute(x, target=1, feature_mask=places[None, None])
    got = FeatureAblation(model, operator=ZERO).attribute_patches(x, 1)
    torch.testing.assert_close(got, captum[:, 0, ::8, ::8], rtol=1e-3, atol=1e-5)


def test_tokens_can_be_the_players() -> None:
    model, x = build("clip"), pixels()
    by_colour = KernelSHAP(model, 60).attribute_patches(x, 1)
    by_token = KernelSHAP(model, 60, operator="token").attribute_patches(x, 1)
    assert not torch.allclose(by_colour, by_token)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (ShapleyValueSampling, {"n_samples": 0}),
        (KernelSHAP, {"n_samples": 1}),
        (LIME, {"kernel_width": 0.0}),
        (LIME, {"ridge": -1.0}),
        (LIME, {"internal_batch_size": 0}),
        (LIME, {"operator": "nothing"}),
    ],
)
def test_values_out_of_range_are_told(method, options: dict) -> None:
    with pytest.raises(UsageError):
        method(build("clip"), **options)
