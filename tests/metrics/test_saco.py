import itertools

import numpy as np
import pytest
import torch
import vit_zoo
from linear_model import two_classes, white

from xai import metrics
from xai.core import UsageError
from xai.metrics import evaluate, protocol
from xai.metrics.saco import coefficient, group_bounds
from xai.perturb import make_operator

ZERO = protocol("vit").replace(operator=make_operator("constant"))


def saco(weights, relevance, model=None, **changes):
    rows, cols = weights.shape
    pixels = white(rows, cols)
    return metrics.saco(
        model or two_classes(weights), pixels, relevance[None], 1, ZERO.replace(**changes)
    ).item()


def weights_of(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(5, 4), (4, 4), (14, 14), (7, 9)])
def test_true_weights_earn_one_and_their_reverse_minus_one(shape):
    for weights in (weights_of(*shape), weights_of(*shape).abs()):
        assert saco(weights, weights) == pytest.approx(1)
        assert saco(weights, -weights) == pytest.approx(-1)


def test_scale_and_shift_change_nothing():
    weights, noise = weights_of(5, 4), weights_of(5, 4, seed=1)
    found = saco(weights, weights + noise)
    assert -1 < found < 1
    assert saco(weights, 7 * (weights + noise)) == pytest.approx(found)
    assert saco(weights, weights + noise + 3) == pytest.approx(found)


def test_by_the_formula_of_the_paper():
    """Two loops over pairs, on a model that is not linear."""
    model, pixels = vit_zoo.build("vit"), vit_zoo.pixels(3)
    relevance = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(2))
    found = metrics.saco(model, pixels, relevance, 0, {"base": "vit", "value": "probability"})
    bounds = group_bounds(16)
    for i in range(3):
        order = np.argsort(-relevance[i].numpy().ravel())
        clean, salience, drops = pixels[i], [], []  # per unit
        for a, b in itertools.pairwise(bounds):
            hidden = clean.clone()
            for unit in order[a:b]:
                row, col = divmod(int(unit), 4)
                mean = clean.mean((1, 2))[:, None, None]
                hidden[:, row * 8 : row * 8 + 8, col * 8 : col * 8 + 8] = mean
            with torch.no_grad():
                before, after = model(torch.stack([clean, hidden])).double().softmax(1)[:, 0]
            salience.append(relevance[i].flatten()[order[a:b].copy()].double().mean().item())
            drops.append((before - after).item() / (b - a))
        weights = [
            (salience[a] - salience[b]) * (1 if drops[a] >= drops[b] else -1)
            for a, b in itertools.combinations(range(10), 2)
        ]
        assert found[i].item() == pytest.approx(sum(weights) / np.abs(weights).sum(), abs=1e-5)


def test_one_wrong_pair_costs_its_weight():
    salience = torch.tensor([5.0, 3.0, 2.0])
    drops = torch.tensor([5.0, 2.0, 3.0])  # the pair of 3 and 2 is wrong
    assert coefficient(salience, drops).item() == pytest.approx((2 + 3 - 1) / (2 + 3 + 1))


def test_equal_drops_earn_nothing():
    assert coefficient(torch.tensor([3.0, 2.0, 1.0]), torch.zeros(3)).item() == 0
    assert coefficient(torch.tensor([3.0, 2.0, 0.0]), torch.tensor([1.0, 0.0, 0.0])).item() == pytest.approx(
        (1 + 3) / (1 + 3 + 2)
    )


def test_a_constant_map_earns_nothing_and_is_flagged():
    relevance = torch.stack([torch.full((1, 4, 4), 0.3), weights_of(1, 4, 4)])
    found = evaluate(two_classes(weights_of(4, 4)), ["saco"], white(), relevance, 1, ZERO)["saco"]
    assert found.value[0].item() == 0
    assert found.saturated[:, 0].tolist() == [True, False]
    assert found.tie_fraction[:, 0].tolist() == [1, 0]


def test_random_maps_earn_nothing_on_average():
    weights = weights_of(6, 5)
    maps = torch.rand(200, 1, 6, 5, generator=torch.Generator().manual_seed(3))
    found = evaluate(two_classes(weights), ["saco"], white(6, 5), maps, 1, ZERO)["saco"].value
    assert abs(found.mean()) < 3 * found.std() / 200**0.5


@pytest.mark.parametrize("shape", [(7, 7), (14, 14)])  # neither divides by 10
def test_an_even_map_far_above_zero_earns_nothing_by_the_size_of_its_groups(shape):
    weights = weights_of(*shape).abs()
    maps = 0.9 + 0.2 * torch.rand(200, 1, *shape, generator=torch.Generator().manual_seed(3))
    found = evaluate(two_classes(weights), ["saco"], white(*shape), maps, 1, ZERO)["saco"].value
    assert abs(found.mean()) < 3 * found.std() / 200**0.5


def test_too_few_units():
    with pytest.raises(UsageError, match="10 groups of units; there are 9"):
        saco(weights_of(3, 3), weights_of(3, 3), steps=3)


def test_pixel_units():
    weights = weights_of(5, 4)
    assert saco(weights, weights, unit="pixel", step_units="W") == pytest.approx(1)


def test_ranges_and_cost():
    info = metrics.METRICS["saco"]
    assert (info.higher_is_better, info.range, info.forwards(196, ZERO)) == (True, (-1.0, 1.0), 12)
