"""The stream: what a plain loop gives, whatever the batches; nothing twice."""

import pytest
import torch
from perturbed import Counting, by_hand, operator, states
from torch import Tensor
from vit_zoo import build, pixels

from xai.core import ModelError
from xai.perturb import (
    OPERATORS,
    SCORES,
    Request,
    States,
    Stream,
)
from xai.perturb.states import removed_sets


@pytest.mark.parametrize("name", OPERATORS)
def test_as_a_plain_loop(name: str) -> None:
    model, x, targets = build("clip"), pixels(3), torch.tensor([0, 2, 1])
    for units in [(4, 4), (32, 32)][: 1 if name == "token" else 2]:
        request = Request(operator(name), states(x, units, steps=2))
        (got,) = Stream(model, batch_size=7).evaluate(x, targets, [request])
        assert got.dtype == torch.float32
        assert not got.is_inference()
        torch.testing.assert_close(got, by_hand(model, x, targets, request), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 16, 31, 64])
def test_any_batch_size_and_any_order(batch_size: int) -> None:
    model, x, targets = build("clip"), pixels(3), torch.tensor([0, 2, 1])
    coarse, fine = states(x, (4, 4)), states(x, (32, 32), seed=1)
    requests = [
        Request(operator("token"), coarse),
        Request(operator("mean"), coarse, "logit"),
        Request(operator("mean"), fine),
        Request(operator("blur"), fine, "correct"),
        Request(operator("mean"), states(x, (4, 4), seed=2)),
    ]
    expected = Stream(model, batch_size=4).evaluate(x, targets, requests)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(batch_size)).tolist()
    stream = Stream(model, batch_size=batch_size)
    got = stream.evaluate(x, targets, [shuffled(requests[i], batch_size) for i in order])
    for index, values in zip(order, got, strict=True):
        values = values[_permutation(len(values), batch_size).argsort()]
        torch.testing.assert_close(values, expected[index], atol=1e-5, rtol=1e-5)


def _permutation(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def shuffled(request: Request, seed: int) -> Request:
    """The same states in another order, of rankings in another order."""
    table = request.states
    rows = _permutation(len(table.rankings), seed)
    order = _permutation(len(table), seed)
    moved = States(
        table.rankings[rows],
        table.image[rows],
        rows.argsort()[table.row][order],
        table.low[order],
        table.high[order],
    )
    return Request(request.operator, moved, request.score)


def test_nothing_is_computed_twice() -> None:
    model, x = Counting().eval(), pixels(2)
    ranks = torch.arange(16, dtype=torch.int32).view(1, 4, 4).repeat(4, 1, 1)
    ranks[1] = ranks[1].flip(0)  # image 0, another order
    image = torch.tensor([0, 0, 1, 1])
    rows, bounds = [], []
    for row in range(4):
        for bound in [(0, 0), (0, 8), (8, 16), (0, 16), (5, 5)]:
            rows.append(row)
            bounds.append(bound)
    low, high = torch.tensor(bounds, dtype=torch.int32).T
    table = States(ranks, image, torch.tensor(rows), low, high)
    stream = Stream(model, batch_size=6)
    requests = [Request(operator(n), table, s) for n in ("mean", "minimum") for s in SCORES]
    got = stream.evaluate(x, torch.tensor([0, 1]), requests)
    # per image: the image itself, and per operator both halves and everything: the order of the first image's
    # second map is another, yet it removes the same halves, the other way round
    assert stream.forwards == 2 * (1 + 2 * 3)
    assert stream.states == 6 * 20
    # the first two to find its grid, and whether its last layer can be shortened
    assert model.batches == [1, 1, 2, 6, 6]
    for request, values in zip(requests, got, strict=True):
        expected = by_hand(model, x, torch.tensor([0, 1]), request)
        torch.testing.assert_close(values, expected, atol=1e-5, rtol=1e-5)
    stream.evaluate(x[:1], torch.tensor([0]), [])
    assert stream.forwards == 14


def test_equal_sets_have_equal_fingerprints_and_others_do_not() -> None:
    generator = torch.Generator().manual_seed(0)
    ranks = torch.stack([torch.randperm(9, generator=generator) for _ in range(300)]).int().view(-1, 3, 3)
    row = torch.arange(300).repeat_interleave(3)
    low, high = torch.tensor([(0, 3), (2, 6), (4, 9)] * 300, dtype=torch.int32).T
    table = States(ranks, torch.zeros(300, dtype=torch.long), row, low, high)
    fingerprints, sizes = removed_sets(table)
    sets = [
        frozenset(((r >= a) & (r < b)).nonzero()[:, 0].tolist())
        for r, a, b in zip(ranks.flatten(1)[row], low, high, strict=True)
    ]
    assert sizes.tolist() == [len(s) for s in sets]
    known: dict[int, frozenset[int]] = {}
    for fingerprint, removed in zip(fingerprints.tolist(), sets, strict=True):
        assert known.setdefault(fingerprint, removed) == removed
    assert len(known) == len(set(sets)) < len(sets)


def test_bounds_beyond_the_units_are_cut() -> None:
    model, x, target = Counting().eval(), pixels(1), torch.tensor([1])
    ranks = torch.arange(16, dtype=torch.int32).view(1, 4, 4)
    low, high = torch.tensor([(-3, 99), (0, 16), (7, 3), (0, 0)], dtype=torch.int32).T
    table = States(ranks, torch.tensor([0]), torch.zeros(4, dtype=torch.long), low, high)
    stream = Stream(model)
    (values,) = stream.evaluate(x, target, [Request(operator("mean"), table)])
    assert stream.forwards == 2
    assert values[0] == values[1]
    assert values[2] == values[3]
    assert values[0] != values[2]


def test_two_classes_give_the_margin_exactly() -> None:
    logits = torch.tensor([[3.0, -50.0], [0.1, 0.7], [-90.0, 90.0]])
    target = torch.tensor([0, 0, 1])
    margin = logits[:, 0] - logits[:, 1]
    assert torch.equal(SCORES["log_odds"](logits, target), margin * torch.tensor([1, 1, -1]))
    many = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    target = torch.arange(5)
    torch.testing.assert_close(
        SCORES["log_odds"](many, target).sigmoid(), many.softmax(1)[range(5), range(5)]
    )
    with pytest.raises(ModelError, match="two classes"):
        SCORES["log_odds"](logits[:, :1], target[:3] * 0)
