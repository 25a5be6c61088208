"""The search: as a plain loop does it, within its bounds, and it finds what undoes an answer."""

from dataclasses import replace

import pytest
import tiny_detector
import torch
from linear_model import Linear, two_classes
from torch import Tensor, nn
from vit_zoo import pixels

from xai.core import ProblemType, UsageError, derive_seed
from xai.perturb import Adversarial, Attack, Request, States, Stream, image_seeds, make_operator

FEW = Attack(samples=3, iterations=4, sigma=0.01)


@pytest.fixture(scope="module")
def model() -> Linear:
    weights = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Linear(weights)


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture(scope="module")
def inside() -> Tensor:
    return torch.rand(4, 16, 16, generator=torch.Generator().manual_seed(2)) < 0.4


def plain(model: nn.Module, image: Tensor, inside: Tensor, seed: int, how: Attack) -> Tensor:
    """One image, one sample, one direction after the other."""
    generator, changed = torch.Generator().manual_seed(derive_seed(seed, "attack")), image.clone()
    first = int(model(image[None])[0].argmax())

    def odds(one: Tensor) -> Tensor:
        logits = model(one[None])[0]
        others = [c for c in range(len(logits)) if c != first]
        return logits[first] - logits[others].logsumexp(0)

    for _ in range(how.iterations):
        if int(model(changed[None])[0].argmax()) != first:
            break
        slope = torch.zeros(image.shape[1:], dtype=image.dtype)
        for _ in range(how.samples):
            u = torch.randn(image.shape[1:], generator=generator).to(image) * inside
            slope += (odds(changed + how.sigma * u) - odds(changed - how.sigma * u)) * u
        moved = changed - how.step / 255 * slope.sign()
        changed = torch.minimum(torch.maximum(moved, image - how.bound / 255), image + how.bound / 255)
    return changed


@pytest.mark.parametrize("how", [FEW, replace(FEW, step=40.0, bound=1e3), replace(FEW, bound=1.5)])
def test_it_is_the_plain_loop(model: Linear, x: Tensor, inside: Tensor, how: Attack) -> None:
    seeds, image = image_seeds(x, 0), [0, 1, 1, 0]
    found = how.search(model, x[image], inside, [seeds[i] for i in image])
    with torch.no_grad():
        for one, i, mask in zip(found, image, inside, strict=True):
            torch.testing.assert_close(one, plain(model, x[i], mask, seeds[i], how), atol=1e-12, rtol=0)


def test_nothing_changes_outside_and_no_pixel_by_more_than_the_bound(
    model: Linear, x: Tensor, inside: Tensor
) -> None:
    how = replace(FEW, iterations=12, bound=5.0)
    found = how.search(model, x[[0, 1, 0, 1]], inside, image_seeds(x[[0, 1, 0, 1]], 0))
    change = (found - x[[0, 1, 0, 1]]).abs()
    assert (change * ~inside[:, None]).max() == 0
    assert change.amax((1, 2, 3)) == pytest.approx(5 / 255)  # it went as far as it may, and no further
    assert (change.std(1) < 1e-12).all()  # the same in all channels


def planted(images: int = 2) -> tuple[nn.Module, Tensor, Tensor]:
    """A detector that looks at one quarter, images that it just takes for class 1, and that quarter."""
    weights = torch.zeros(4, 4)
    weights[:2, :2] = 1.0
    where = torch.zeros(images, 16, 16, dtype=torch.bool)
    where[:, :8, :8] = True
    noise = torch.randn(images, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return two_classes(weights), 0.01 + 0.005 * noise, where


def test_it_undoes_the_answer_where_the_evidence_is_and_not_elsewhere() -> None:
    model, x, where = planted()
    how, seeds = Attack(samples=10, iterations=20), image_seeds(x, 0)
    with torch.no_grad():
        before = model(x)[:, 1]
        there, elsewhere = (model(how.search(model, x, one, seeds))[:, 1] for one in (where, ~where))
    assert (before > 0).all()
    assert (there < 0).all()
    torch.testing.assert_close(elsewhere, before)


def test_it_stops_when_the_answer_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, where = planted(1)
    model.seen = 0
    Attack(samples=10, iterations=50).search(model, x, where, image_seeds(x, 0))
    asked = model.seen
    assert (asked - 1) % 21 == 0  # the last question is whether the class still holds
    assert asked < Attack(samples=10, iterations=50).passes


def test_a_stream_counts_every_question_and_keeps_what_was_found_for_an_image() -> None:
    model, x, _ = planted()
    ranks = torch.arange(16, dtype=torch.int32).reshape(1, 4, 4).expand(2, -1, -1)
    ends = torch.tensor([1, 2, 16], dtype=torch.int32).repeat(2)
    states = States(
        ranks, torch.arange(2), torch.arange(2).repeat_interleave(3), torch.zeros_like(ends), ends
    )
    Stream(model).evaluate(x, torch.tensor([1, 1]), [Request(make_operator("mean"), states)])  # learns of it
    for operator in (Attack(samples=2, iterations=2), Adversarial(samples=2, iterations=2)):
        stream = Stream(model, batch_size=4)
        model.seen = 0
        first = stream.evaluate(x, torch.tensor([1, 1]), [Request(operator, states)])
        asked = stream.forwards
        assert asked == model.seen
        assert asked <= 6 * operator.passes + 2 * operator.image_passes
        again = stream.evaluate(x, torch.tensor([1, 1]), [Request(operator, states)])
        torch.testing.assert_close(first, again)
        assert stream.forwards - asked == (6 if operator.image_passes else asked)
        with torch.no_grad():
            model.weights.mul_(1.5)  # another model: nothing of the old one is taken
        before = stream.forwards
        stream.evaluate(x, torch.tensor([1, 1]), [Request(operator, states)])
        assert stream.forwards - before > 6


def test_an_image_is_searched_alike_in_any_batch(model: Linear, x: Tensor, inside: Tensor) -> None:
    seeds = image_seeds(x, 0)
    together = FEW.search(model, x[[0, 0, 1]], inside[:3], [seeds[0], seeds[0], seeds[1]])
    alone = FEW.search(model, x[[1]], inside[2:3], seeds[1:])
    torch.testing.assert_close(together[2:], alone)
    other = FEW.search(model, x[[1]], inside[2:3], image_seeds(x, 1)[1:])
    assert not torch.equal(alone, other)


def test_everything_adversarial_is_the_attack_on_everything(model: Linear, x: Tensor) -> None:
    seeds, everything = image_seeds(x, 0), torch.ones(2, 16, 16, dtype=torch.bool)
    found = Adversarial(samples=3, iterations=4, sigma=0.01).prepare(model, x, seeds)
    torch.testing.assert_close(found, FEW.search(model, x, everything, seeds))


def test_independent_labels_are_undone_when_they_are_no_longer_given() -> None:
    class Labels(Linear):
        problem_type = ProblemType.MULTI_LABEL

    weights = torch.zeros(2, 4, 4)
    weights[0, :2], weights[1, 2:] = 3.0, 2.0
    model, x = Labels(weights), torch.full((1, 3, 16, 16), 0.02)
    upper = torch.zeros(1, 16, 16, dtype=torch.bool)
    upper[:, :8] = True
    found = model(Attack(samples=10, iterations=60).search(model, x, upper, [0]))
    assert found[0, 0] <= 0 < found[0, 1]  # it went on after the other label had become the likelier one
    assert found[0, 0] > -0.2


def test_sixteen_bits_are_refused() -> None:
    detector = tiny_detector.classifier(layers=1).to(torch.bfloat16)
    with pytest.raises(UsageError, match="which is lost in bfloat16"):
        FEW.search(detector, pixels(1), torch.ones(1, 32, 32, dtype=torch.bool), [0])


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"iterations": 0}, {"sigma": 0.0}, {"bound": -1.0}])
def test_refuses_what_searches_nothing(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="must be"):
        make_operator("attack", **wrong)
