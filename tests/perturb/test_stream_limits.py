"""The stream at its limits: memory, modes, autocast, wrong requests; the model as before."""

import logging
from collections.abc import Callable, Sequence

import pytest
import torch
from perturbed import METHODS, Counting, by_hand, operator, states
from torch import Tensor, nn
from transformers.models.beit.modeling_beit import BeitRelativePositionBias
from vit_zoo import build, pixels

from xai.core import ModelError, UsageError
from xai.explanation.explainer import logits_of
from xai.metrics.context import predict
from xai.perturb import (
    Request,
    States,
    Stream,
    on_pixels,
)


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
    assert stream.forwards == sum(model.batches) - 2  # looks for its grid and its last layer
    torch.testing.assert_close(got, by_hand(model, x, targets, request), atol=1e-5, rtol=1e-5)


def test_how_many_at_once_follows_the_model() -> None:
    model = Counting()
    stream = Stream(model)
    assert stream.batch_size == 8
    model.to("meta")  # stands for any device that is no CPU
    assert stream.batch_size == 32 and Stream(model, batch_size=5).batch_size == 5
    assert Stream(nn.Identity()).batch_size == 8


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


def measure(model: nn.Module, x: Tensor) -> None:
    Stream(model).evaluate(x, torch.tensor([0, 1]), [Request(operator("mean"), states(x, (4, 4)))])


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize(
    "answer",
    [measure, logits_of, lambda model, x: predict(Stream(model), x)],
    ids=["stream", "logits", "first"],
)
@pytest.mark.parametrize("name", ["clip", "dinov3", "beit", "torch_encoder"])
def test_gradients_work_after_an_answer(name: str, answer: Callable, mode: type) -> None:
    """What a model computes once and keeps must not be an inference tensor afterwards."""
    # kept by the process, for the last ten windows: whatever was measured before would hide it
    for side in range(20, 30):
        BeitRelativePositionBias.generate_relative_position_index((side, side))
    model, x = build(name), pixels(2)
    with mode():
        answer(model, x)
    model(x).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_a_model_that_switches_gradients_on_answers_without_a_graph() -> None:
    class Tuning(Counting):
        def forward(self, x: Tensor) -> Tensor:
            with torch.set_grad_enabled(True):
                return super().forward(x)

    model, plain, x = Tuning().eval(), Counting().eval(), pixels(2)
    plain.load_state_dict(model.state_dict())
    request = Request(operator("mean"), states(x, (4, 4)))
    (values,) = Stream(model).evaluate(x, torch.tensor([0, 1]), [request])
    (expected,) = Stream(plain).evaluate(x, torch.tensor([0, 1]), [request])
    assert not values.requires_grad
    torch.testing.assert_close(values, expected)
    assert not logits_of(model, x).requires_grad


def test_autocast() -> None:
    model, x, targets = build("clip"), pixels(2), torch.tensor([0, 1])
    requests = [Request(operator(n), states(x, (4, 4))) for n in ("token", "blur", "road")]
    exact = Stream(model).evaluate(x, targets, requests)
    rough = Stream(model, autocast=torch.bfloat16).evaluate(x, targets, requests)
    for one, other in zip(exact, rough, strict=True):
        assert other.dtype == torch.float32
        assert 0 < (one - other).abs().max() < 0.3


def test_baselines_are_made_in_full_precision_under_autocast() -> None:
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
        def logits(self, classifier, pixels, baseline, removed, seeds):
            largest.append(len(removed))
            assert on_pixels(removed, (32, 32)) is removed
            return super().logits(classifier, pixels, baseline, removed, seeds)

    x = pixels(2)
    Stream(Counting().eval(), batch_size=8).evaluate(
        x, torch.tensor([0, 1]), [Request(Spy(), states(x, (32, 32), steps=30))]
    )
    assert max(largest) == 8
