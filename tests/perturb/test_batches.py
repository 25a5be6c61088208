"""States divided into batches: all of them, each once, no division into neighbours cheaper."""

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from perturbed import operator
from vit_zoo import build, pixels

from xai.metrics import evaluate
from xai.perturb import Stream, states
from xai.perturb.states import batches_by_size, batches_of


def cost(sizes: np.ndarray, lengths: list[int], call: int) -> int:
    """Of batches of states in the order given."""
    stops = np.cumsum([0, *lengths])
    return sum(call + (stop - start) * int(sizes[start:stop].max()) for start, stop in pairwise(stops))


@pytest.mark.parametrize("call", [0, 7, 64, 10_000])
@pytest.mark.parametrize("seed", range(4))
def test_every_state_once_and_batches_not_too_long(call: int, seed: int) -> None:
    sizes = np.random.default_rng(seed).integers(1, 30, 200)
    order, lengths = batches_by_size(sizes, 8, call)
    assert sorted(order) == list(range(200))
    assert sum(lengths) == 200
    assert max(lengths) <= 8
    assert cost(sizes[order], lengths, call) <= cost(np.sort(sizes)[::-1], batches_of(200, 8), call)


@pytest.mark.parametrize("call", [0, 5, 20, 10_000])
def test_leftovers_are_joined_as_cheaply_as_neighbours_can_be(call: int) -> None:
    sizes = np.repeat([40, 33, 32, 20, 9, 1], [2, 3, 1, 2, 3, 2])
    order, lengths = batches_by_size(sizes, 6, call)
    places = np.flatnonzero(np.diff(sizes)) + 1
    ways = []
    for count in range(len(places) + 1):
        for cuts in combinations(places.tolist(), count):
            tried = np.diff([0, *cuts, len(sizes)]).tolist()
            if max(tried) <= 6:
                ways.append(cost(sizes, tried, call))
    assert cost(sizes[order], lengths, call) == min(ways)


def test_a_call_that_costs_nothing_fills_nothing_up() -> None:
    sizes = np.repeat(np.arange(20, 200, 20), 2)  # one image, both curves of nine steps
    order, lengths = batches_by_size(sizes, 32, 0)
    assert lengths == [2] * 9
    assert cost(sizes[order], lengths, 0) == sizes.sum()


def test_none_at_all() -> None:
    order, lengths = batches_by_size(np.array([], int), 4, 64)
    assert len(order) == 0
    assert lengths == []


def test_values_do_not_depend_on_the_division(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = build("clip"), pixels(2)
    relevance = torch.rand(2, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    targets, found, calls = torch.tensor([0, 1]), [], []
    run = type(model).forward
    for call in (0, 64, 10**6):
        monkeypatch.setitem(states.CALL, "cpu", call)
        sizes: list[int] = []
        monkeypatch.setattr(type(model), "forward", lambda self, p, s=sizes: s.append(len(p)) or run(self, p))
        found.append(evaluate(Stream(model), ["deletion", "insertion"], x, relevance, targets, "vit-token"))
        calls.append(len(sizes))
    assert calls[0] > calls[1] >= calls[2]
    for other in found[1:]:
        for metric, scores in found[0].items():
            torch.testing.assert_close(scores.curve, other[metric].curve, atol=1e-6, rtol=1e-6)


def test_where_tokens_are_only_masked_size_saves_nothing() -> None:
    x = pixels(1)
    assert operator("token").gains_by_size(build("clip"), x)
    assert not operator("token").gains_by_size(build("dinov3"), x)
    assert not operator("mean").gains_by_size(build("clip"), x)
