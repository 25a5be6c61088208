"""The metric-driven order against a search in plain Python, and games whose order is known."""

import numpy as np
import pytest
import torch
from planted import Planted, planted_image
from torch import Tensor, nn
from vit_zoo import build, pixels

from xai.attention import find_layout, mask_patches
from xai.attr import MetricDrivenAttribution
from xai.attr.batching import class_values
from xai.attr.metric_driven import concave_slopes
from xai.core import Margin, UsageError

ZERO = {"name": "constant", "value": 0.0}
WINDOWS = [[4 * (r + i) + c + j for i in range(3) for j in range(3)] for r in range(2) for c in range(2)]


def regress(gains: list[float]) -> list[float]:
    """Pool adjacent violators: the non-increasing sequence nearest to the gains."""
    blocks: list[list[float]] = []
    for gain in gains:
        blocks.append([gain])
        while len(blocks) > 1 and np.mean(blocks[-1]) > np.mean(blocks[-2]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    return [float(np.mean(block)) for block in blocks for _ in block]


def search(v, n: int, width: int) -> tuple[list[int], np.ndarray]:
    """Order and magnitudes of a game v of sets of patches, step by step."""
    everything = frozenset(range(n))
    full, empty = v(everything), v(frozenset())
    effects: list[list[float]] = [[] for _ in range(n)]
    for window in WINDOWS:
        effect = v(frozenset(window)) - empty + full - v(everything - set(window))
        for j in window:
            effects[j].append(effect)
    prior = np.array([np.mean(e) for e in effects])
    ranked = [int(j) for j in np.argsort(-prior, kind="stable")]
    first: list[int] = []
    while len(first) < n:
        tried = [j for j in ranked if j not in first][:width]
        values = [v(frozenset([*first, j])) for j in tried]
        first.append(tried[int(np.argmax(values))])
        if max(values) >= empty + 0.9 * abs(full - empty):
            break
    last: list[int] = []
    while len(first) + len(last) < n:
        tried = [j for j in reversed(ranked) if j not in first and j not in last][:width]
        last.append(tried[int(np.argmin([v(frozenset([*last, j])) for j in tried]))])
    order = first + last[::-1]
    curve, highest = [0.0], 0.0
    for i in range(1, n + 1):
        gain = v(frozenset(order[:i])) - empty + full - v(everything - set(order[:i]))
        highest = max(highest, float(np.clip(gain / 2 / abs(full - empty), 0, 1)))
        curve.append(highest)
    slopes = np.array(regress(list(np.diff(curve))))
    return order, slopes / slopes.sum()


@pytest.mark.parametrize(
    ("name", "operator", "target"), [("clip", "token", 1), ("siglip_pooling_head", "mean", Margin(2, 0))]
)
def test_equals_a_search_one_pass_at_a_time(name: str, operator: str, target) -> None:
    model, x = build(name), pixels(1)
    grid = find_layout(model).grid(32, 32)
    known: dict[frozenset, float] = {}

    def v(present: frozenset) -> float:
        if present not in known:
            mask = torch.tensor([[j in present for j in range(16)]])
            with torch.no_grad():
                if operator == "token":
                    with mask_patches(model, mask, grid):
                        z = model(x)[0].double()
                else:
                    shown = mask.view(4, 4).repeat_interleave(8, 0).repeat_interleave(8, 1)
                    z = model(torch.where(shown, x, x.mean((2, 3), keepdim=True)))[0].double()
            odds = [float(z[c] - z[[k for k in range(3) if k != c]].logsumexp(0)) for c in range(3)]
            known[present] = odds[1] if target == 1 else odds[2] - odds[0]
        return known[present]

    order, magnitude = search(v, 16, 8)
    ranks = np.array([2 * (16 - i) / (16 * 17) for i in range(16)])
    expected = np.empty(16)
    expected[order] = 0.7 * magnitude + 0.3 * ranks
    got = MetricDrivenAttribution(model, dense=0.3, operator=operator).attribute_patches(x, target)[0]
    np.testing.assert_allclose(got.flatten().numpy(), expected, rtol=1e-3, atol=1e-5)


class Sum(nn.Module):
    """Two logits: 0 and a weighted sum of the patches' mean values."""

    patch_size = 8

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.passes = 0
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        self.passes += len(x)
        y = nn.functional.avg_pool2d(x.mean(1, keepdim=True), 8).flatten(1) @ self.weight
        return torch.stack([torch.zeros_like(y), y], 1)


def test_an_additive_game_gets_its_order_and_its_shares() -> None:
    weight = torch.rand(16, generator=torch.Generator().manual_seed(0))
    white = torch.ones(1, 3, 32, 32)
    sparse, dense = (
        MetricDrivenAttribution(Sum(weight), 16, dense=d, operator=ZERO).attribute_patches(white, 1).flatten()
        for d in (0.0, 1.0)
    )
    torch.testing.assert_close(sparse, weight / weight.sum(), rtol=1e-4, atol=1e-6)
    assert torch.equal(dense.argsort(), weight.argsort())
    assert float(dense.sum()) == pytest.approx(1)


def test_patches_that_speak_against_the_target_come_last() -> None:
    weight = torch.linspace(-2, 3, 16)[torch.randperm(16, generator=torch.Generator().manual_seed(1))]
    method = MetricDrivenAttribution(Sum(weight), 16, operator=ZERO)
    white = torch.ones(1, 3, 32, 32)
    got = method.attribute_patches(white, 1).flatten()
    assert torch.equal(got.argsort(), weight.argsort())
    against = method.attribute_patches(white, 0).flatten()  # the image as a whole speaks against it
    assert torch.isfinite(against).all()
    assert set(against.topk(6).indices.tolist()) == set((-weight).topk(6).indices.tolist())


def test_one_candidate_a_round_keeps_the_order_of_the_windows() -> None:
    weight = torch.rand(16, generator=torch.Generator().manual_seed(2))
    got = MetricDrivenAttribution(Sum(weight), 1, dense=1.0, operator=ZERO).attribute_patches(
        torch.ones(1, 3, 32, 32), 1
    )
    effects: list[list[float]] = [[] for _ in range(16)]
    for window in WINDOWS:
        for j in window:
            effects[j].append(float(weight[window].sum()))
    prior = np.array([np.mean(e) for e in effects])
    in_order = prior[np.argsort(-got.flatten().numpy())]
    assert (np.diff(in_order) < 1e-5).all()


@pytest.mark.parametrize("operator", ["token", "mean"])
def test_planted_patches_are_found(operator: str) -> None:
    got = MetricDrivenAttribution(Planted(), operator=operator).attribute_patches(planted_image(5, 10), 1)
    assert set(got.flatten().topk(2).indices.tolist()) == {5, 10}


def test_a_score_that_never_moves_leaves_an_even_map_of_magnitudes() -> None:
    got = MetricDrivenAttribution(Sum(torch.zeros(16)), dense=0.0).attribute_patches(pixels(1), 1)
    torch.testing.assert_close(got, torch.full((1, 4, 4), 1 / 16))


def test_the_cost_is_what_is_declared() -> None:
    def cost(n: int, width: int, windows: int) -> int:
        return 2 + 2 * windows + sum(min(width, left) for left in range(1, n + 1)) + 2 * (n - 1)

    model = Sum(torch.rand(16))
    MetricDrivenAttribution(model).attribute_patches(pixels(1), 1)
    assert model.passes == 1 + cost(16, 8, 4)  # one to find the grid
    assert MetricDrivenAttribution.info.forwards == cost(196, 28, 144)


def test_slopes_are_the_nearest_non_increasing_gains() -> None:
    for seed in range(5):
        gains = torch.rand(20, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        np.testing.assert_allclose(concave_slopes(gains).numpy(), regress(gains.tolist()), rtol=1e-12)


def test_log_odds_are_those_of_each_class_against_the_rest() -> None:
    z = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)) * 4
    expected = [
        [z[i, c] - z[i, [k for k in range(4) if k != c]].logsumexp(0) for c in range(4)] for i in range(5)
    ]
    torch.testing.assert_close(class_values(z, "log_odds"), torch.tensor(expected))
    far = class_values(torch.tensor([[0.0, 80.0]]), "log_odds")
    assert torch.equal(far, torch.tensor([[-80.0, 80.0]]))
    assert torch.equal(class_values(z, "logit"), z)
    torch.testing.assert_close(class_values(z[:, :1], "probability"), z[:, :1].sigmoid())


@pytest.mark.parametrize("options", [{"width": 0}, {"cutoff": 1.1}, {"dense": -0.1}, {"value": "p"}])
def test_wrong_options_are_told(options: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        MetricDrivenAttribution(build("clip"), **options)
