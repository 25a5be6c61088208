"""The stream: what a plain loop gives, whatever the batches; nothing twice; the model as before."""

import logging
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from vit_zoo import CLASSES, build, pixels

from xai.core import ModelError, UsageError
from xai.perturb import (
    OPERATORS,
    SCORES,
    Operator,
    Request,
    States,
    Stream,
    image_seeds,
    make_operator,
    on_pixels,
    rank_units,
)
from xai.perturb.states import removed_sets

SMALL = {"blur": {"kernel": 5, "sigma": 2.0}}
METHODS = 2


def operator(name: str) -> Operator:
    return make_operator(name, **SMALL.get(name, {}))


def states(
    x: Tensor, units: tuple[int, int], steps: int = 4, methods: int = METHODS, seed: int = 0
) -> States:
    """Deletion, insertion and groups of random maps; images in no special order."""
    images, count = len(x), units[0] * units[1]
    relevance = torch.randn(methods * images, count, generator=torch.Generator().manual_seed(seed))
    image = torch.arange(images).repeat(methods)
    seeds = image_seeds(x, 0)
    ranks = rank_units(relevance, [seeds[i] for i in image]).view(-1, *units)
    cuts = [count * k // steps for k in range(steps + 1)]
    bounds = [(0, k) for k in cuts] + [(k, count) for k in cuts] + list(pairwise(cuts))
    low, high = torch.tensor(bounds * len(ranks), dtype=torch.int32).T
    return States(ranks, image, torch.arange(len(ranks)).repeat_interleave(len(bounds)), low, high)


def by_hand(model: nn.Module, x: Tensor, targets: Tensor, request: Request, seed: int = 0) -> Tensor:
    """State by state, without the stream: one forward pass each."""
    table, values = request.states, []
    seeds = image_seeds(x, seed)
    with torch.no_grad():
        substrate = request.operator.prepare(model, x, seeds)
        for row, low, high in zip(table.row.tolist(), table.low.tolist(), table.high.tolist(), strict=True):
            image = int(table.image[row])
            removed = (table.rankings[row] >= low) & (table.rankings[row] < high)
            one = slice(image, image + 1)
            logits = request.operator.logits(
                model,
                x[one],
                None if substrate is None else substrate[one],
                removed[None],
                torch.tensor(seeds[one]),
            )[0]
            target, others = targets[image], torch.arange(len(logits)) != targets[image]
            value = {
                "logit": logits[target],
                "log_odds": logits[target] - logits[others].exp().sum().log(),
                "correct": (logits.argmax() == target).float(),
            }[request.score]
            values.append(value)
    return torch.stack(values)


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


class Counting(nn.Module):
    """A linear classifier on patch means that knows how many images it saw, and in which batches."""

    patch_size = 8

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(48, CLASSES)
        nn.init.normal_(self.linear.weight, generator=torch.Generator().manual_seed(0))
        self.norm = nn.BatchNorm1d(48)
        self.batches: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
        return self.linear(self.norm(nn.functional.avg_pool2d(x, 8).flatten(1)))


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
    assert stream.forwards == sum(model.batches) == 2 * (1 + 2 * 3)
    assert stream.states == 6 * 20
    assert model.batches == [2, 6, 6]
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


class Hungry(Counting):
    """Fails as torch does for batches above a size."""

    def __init__(self, most: int, error: type[Exception] = torch.OutOfMemoryError):
        super().__init__()
        self.most, self.error = most, error

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.most:
            raise self.error("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().forward(x)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError, MemoryError])
def test_out_of_memory_halves_the_batch_for_good(
    error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    x, targets = pixels(3), torch.tensor([0, 2, 1])
    request = Request(operator("mean"), states(x, (4, 4)))
    model = Hungry(5, error).eval()
    stream = Stream(model, batch_size=16)
    with caplog.at_level(logging.WARNING, "xai.perturb"):
        (got,) = stream.evaluate(x, targets, [request])
    assert stream.batch_size == 4
    assert max(model.batches) <= 4
    assert len(caplog.records) == 2
    assert stream.forwards == sum(model.batches)
    torch.testing.assert_close(got, by_hand(model, x, targets, request), atol=1e-5, rtol=1e-5)


def test_one_image_that_does_not_fit() -> None:
    model, x = Hungry(0).eval(), pixels(1)
    with pytest.raises(ModelError, match="Out of memory with one image"):
        Stream(model).evaluate(x, torch.tensor([0]), [Request(operator("mean"), states(x, (4, 4)))])


def test_other_errors_pass_and_the_model_is_as_before() -> None:
    class Broken(Counting):
        def forward(self, x: Tensor) -> Tensor:
            super().forward(x)
            raise RuntimeError("size mismatch")

    x = pixels(2)
    for model in (Counting(), Broken()):  # in training mode, apart from one module
        model.linear.eval()
        before = {k: v.clone() for k, v in model.state_dict().items()}
        modes = [m.training for m in model.modules()]
        assert modes[0]
        try:
            Stream(model).evaluate(x, torch.tensor([0, 1]), [Request(operator("mean"), states(x, (4, 4)))])
            assert type(model) is Counting
        except RuntimeError as error:
            assert "size mismatch" in str(error)
            assert type(model) is Broken
        assert [m.training for m in model.modules()] == modes
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", ["clip", "dinov3", "beit", "torch_encoder"])
def test_gradients_work_after_the_stream(name: str) -> None:
    """What a model computes once and keeps must not be an inference tensor afterwards."""
    model, x = build(name), pixels(2)
    Stream(model).evaluate(x, torch.tensor([0, 1]), [Request(operator("mean"), states(x, (4, 4)))])
    model(x).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_autocast() -> None:
    model, x, targets = build("clip"), pixels(2), torch.tensor([0, 1])
    requests = [Request(operator(n), states(x, (4, 4))) for n in ("token", "blur", "road")]
    exact = Stream(model).evaluate(x, targets, requests)
    rough = Stream(model, autocast=torch.bfloat16).evaluate(x, targets, requests)
    for one, other in zip(exact, rough, strict=True):
        assert other.dtype == torch.float32
        assert 0 < (one - other).abs().max() < 0.3


def test_substrates_are_made_in_full_precision_under_autocast() -> None:
    seen: list[torch.dtype] = []

    class Spy(type(operator("mean"))):
        def prepare(self, classifier: nn.Module, pixels: Tensor, seeds: Sequence[int]) -> Tensor:
            seen.append((pixels.flatten(2) @ pixels.flatten(2).mT).dtype)
            return super().prepare(classifier, pixels, seeds)

    x = pixels(1)
    stream = Stream(Counting().eval(), autocast=torch.bfloat16)
    stream.evaluate(x, torch.tensor([0]), [Request(Spy(), states(x, (4, 4)))])
    assert seen == [torch.float32]


def test_noise_depends_on_the_run_and_the_image_alone() -> None:
    model, x, targets = build("clip"), pixels(3), torch.tensor([0, 2, 1])
    table = states(x, (4, 4))
    (all_three,) = Stream(model, seed=1).evaluate(x, targets, [Request(operator("noise"), table)])
    mine = table.image[table.row] == 2
    alone = States(
        table.rankings[table.image == 2],
        torch.zeros(METHODS, dtype=torch.long),
        torch.arange(METHODS).repeat_interleave(int(mine.sum()) // METHODS),
        table.low[mine],
        table.high[mine],
    )
    (one,) = Stream(model, seed=1).evaluate(x[2:], targets[2:], [Request(operator("noise"), alone)])
    torch.testing.assert_close(one, all_three[mine], atol=1e-5, rtol=1e-5)
    (other,) = Stream(model, seed=2).evaluate(x[2:], targets[2:], [Request(operator("noise"), alone)])
    assert (one - other).abs().max() > 1e-2


def test_under_any_mode_of_the_caller() -> None:
    x, targets = pixels(2), torch.tensor([0, 1])
    request = Request(operator("token"), states(x, (4, 4)))
    (expected,) = Stream(build("clip")).evaluate(x, targets, [request])
    for mode in (torch.no_grad, torch.inference_mode):
        model = build("clip")
        with mode():
            (got,) = Stream(model).evaluate(x.clone(), targets, [request])
        torch.testing.assert_close(got, expected)


def test_no_states_no_forwards() -> None:
    model, x = Counting().eval(), pixels(1)
    nothing = torch.zeros(0, dtype=torch.int32)
    table = States(torch.zeros(0, 4, 4, dtype=torch.int32), nothing.long(), nothing.long(), nothing, nothing)
    stream = Stream(model)
    assert stream.evaluate(x, torch.tensor([0]), []) == []
    (values,) = stream.evaluate(x, torch.tensor([0]), [Request(operator("mean"), table)])
    assert values.shape == (0,)
    assert stream.forwards == stream.states == 0


def test_wrong_requests_are_told() -> None:
    model, x, targets = Counting().eval(), pixels(2), torch.tensor([0, 1])
    table = states(x, (4, 4))
    mean = operator("mean")

    def changed(**fields: Tensor) -> States:
        parts = {"rankings": table.rankings, "image": table.image, "row": table.row}
        return States(**{**parts, "low": table.low, "high": table.high, **fields})

    with pytest.raises(UsageError, match="Did you mean 'log_odds'"):
        Request(mean, table, "logodds")
    with pytest.raises(UsageError, match="not among the 4"):
        changed(row=table.row + 1)
    with pytest.raises(UsageError, match="of one length"):
        changed(low=table.low[1:])
    with pytest.raises(UsageError, match="with an image each"):
        changed(image=table.image[1:])
    with pytest.raises(UsageError, match="image that is not among the 2"):
        Stream(model).evaluate(x, targets, [Request(mean, changed(image=table.image + 1))])
    for broken in (table.rankings * 0, table.rankings + 1):
        with pytest.raises(UsageError, match="each once"):
            Stream(model).evaluate(x, targets, [Request(mean, changed(rankings=broken))])
    with pytest.raises(UsageError, match="finer than the pixels"):
        Stream(model).evaluate(x, targets, [Request(mean, states(x, (64, 64)))])
    with pytest.raises(UsageError, match="Class index 3 is out of range"):
        Stream(model).evaluate(x, torch.tensor([0, 3]), [Request(mean, table)])
    with pytest.raises(UsageError, match="Class index -1 is out of range"):
        Stream(model).evaluate(x, torch.tensor([0, -1]), [Request(mean, table)])
    with pytest.raises(UsageError, match="2 class indices"):
        Stream(model).evaluate(x, targets[:1], [Request(mean, table)])
    with pytest.raises(UsageError, match="Pixels must be"):
        Stream(model).evaluate(x[0], targets, [Request(mean, table)])
    with pytest.raises(UsageError, match="batch_size=0"):
        Stream(model, batch_size=0)


def test_memory_stays_bounded_for_orders_of_pixels() -> None:
    """No more masks exist at once than a batch has."""
    largest = []

    class Spy(type(operator("mean"))):
        def logits(self, classifier, pixels, substrate, removed, seeds):
            largest.append(len(removed))
            assert on_pixels(removed, (32, 32)) is removed
            return super().logits(classifier, pixels, substrate, removed, seeds)

    x = pixels(2)
    Stream(Counting().eval(), batch_size=8).evaluate(
        x, torch.tensor([0, 1]), [Request(Spy(), states(x, (32, 32), steps=30))]
    )
    assert max(largest) == 8
