"""One way from logits to a target's score, against Captum's own selection and formulas written out."""

import math

import numpy as np
import pytest
import torch
from captum._utils.common import _select_targets
from torch import Tensor

from xai.core import Margin, ModelError, ProblemType, UsageError
from xai.core.target import SCORES, class_log_odds, image_targets, log_odds, read_target, score

SINGLE, MULTI = ProblemType.SINGLE_LABEL, ProblemType.MULTI_LABEL
TYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def logits(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(len(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


FORMS = [
    1,
    (1,),
    [2, 0, 1],
    [(2,), (0,), (1,)],
    torch.tensor(1),
    torch.tensor([1]),
    torch.tensor([2, 0, 1]),
]


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("target", FORMS, ids=str)
def test_the_forms_of_captum_select_what_captum_selects(target: object, dtype: torch.dtype) -> None:
    z = logits(3, 3, dtype=dtype)
    found, expected = score(z, target), _select_targets(z, target)
    assert found.dtype == dtype
    assert torch.equal(found, expected)


def test_places_in_logits_of_more_dimensions() -> None:
    z = logits(2, 3, 4)
    for target in ((2, 1), [(2, 1), (0, 3)]):
        assert torch.equal(score(z, target), _select_targets(z, target))
    assert torch.equal(score(z[:, :, :1], 2), z[:, 2, 0])
    with pytest.raises(UsageError, match="out of range"):
        score(z, (2, 4))


@pytest.mark.parametrize("form", [np.int64(1), np.uint8(1), np.array(1), np.array([1])], ids=repr)
def test_one_integer_of_numpy_is_a_class(form: object) -> None:
    z = logits(3, 3)
    assert torch.equal(score(z, form), z[:, 1])


def test_integers_of_numpy_for_each_example() -> None:
    z = logits(3, 3)
    for form in (np.array([2, 0, 1], np.int16), [np.int8(2), np.array(0), torch.tensor(1)]):
        assert torch.equal(score(z, form), torch.stack([z[0, 2], z[1, 0], z[2, 1]]))


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_margins(dtype: torch.dtype) -> None:
    z = logits(4, 3, dtype=dtype)
    assert torch.equal(score(z, Margin(1, 0)), z[:, 1] - z[:, 0])
    assert torch.equal(score(z, Margin(1)), z[:, 1] - torch.maximum(z[:, 0], z[:, 2]))
    mixed = score(z, [Margin(2), 0, Margin(0, 1), Margin(1)])
    expected = [z[0, 2] - z[0, :2].max(), z[1, 0], z[2, 0] - z[2, 1], z[3, 1] - z[3, [0, 2]].max()]
    assert torch.equal(mixed, torch.stack(expected))
    assert mixed.dtype == dtype


def test_fake_minus_real_with_two_classes_is_the_margin_over_the_rest() -> None:
    z = logits(5, 2)
    assert torch.equal(score(z, Margin(1, 0)), score(z, Margin(1)))
    assert torch.equal(score(z, Margin(1)), log_odds(z, torch.ones(5, dtype=torch.long)))


@pytest.mark.parametrize("target", [1, (1,), [0, 1], Margin(1), Margin(1, 0), [Margin(0), 1]], ids=str)
def test_gradients_are_those_of_the_difference(target: object) -> None:
    """Central differences; each example's score depends on its own logits alone."""
    z = logits(2, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: score(x, target), (z,))
    assert torch.autograd.gradgradcheck(lambda x: score(x.square(), target), (z,))


def test_the_only_output_needs_no_target() -> None:
    assert score(torch.tensor([[4.0], [5.0]]), None).tolist() == [4, 5]
    assert score(torch.tensor([4.0, 5.0]), None).tolist() == [4, 5]
    assert score(torch.tensor([[4.0], [5.0]]), [None, 0]).tolist() == [4, 5]
    with pytest.raises(UsageError, match="No target was given"):
        score(logits(2, 3), None)
    with pytest.raises(UsageError, match="No target was given"):
        score(logits(2, 3), [None, 1])


WRONG = [
    3, -1, (-1,), [0, -1], [(0,), (-1,)], [(0,), (3,)], torch.tensor([0, 3]), np.array([0, -1]),
    True, np.True_, [True, 0], [(True,), (0,)], torch.tensor([True, False]), np.array(True),
    0.5, [0.5, 1.0], torch.tensor([0.5, 0.5]), "fake", ["fake", "real"], [0], [0, 1, 1], [], {"class": 1},
    (0, 0), [(0, 0), (0, 0)], [(0,), 1], torch.tensor([[0], [1]]), Margin(3), Margin(-1), Margin(0, 3),
    [Margin(0), Margin(0, -1)], [1, "fake"],
]  # fmt: skip


@pytest.mark.parametrize("target", WRONG, ids=repr)
def test_what_is_no_class_is_refused(target: object) -> None:
    with pytest.raises(UsageError):
        score(logits(2, 3), target)


def test_a_class_that_is_not_there_is_told_in_one_sentence() -> None:
    for target in (3, [0, 3], (3,), Margin(3), Margin(0, 3), [(0,), (3,)]):
        with pytest.raises(UsageError) as caught:
            score(logits(2, 3), target)
        assert str(caught.value).startswith("Class index 3 is out of range.")
        assert "The model has 3 classes: 0 … 2." in str(caught.value)


def test_margins_need_two_classes() -> None:
    for target in (Margin(0), [Margin(0, 1), None]):
        with pytest.raises(UsageError, match="two classes or more"):
            score(logits(2, 1), target)


def test_logits_made_in_inference_mode_are_read() -> None:
    with torch.inference_mode():
        z, target = logits(2, 3), torch.tensor([1, 2])
    assert score(z, target).tolist() == [z[0, 1].item(), z[1, 2].item()]


def test_the_margin_of_an_independent_label_is_its_logit() -> None:
    class Model:
        problem_type = MULTI

    assert read_target(Margin(2), Model()) == 2
    assert read_target([Margin(2), Margin(0, 1), 1], Model()) == [2, Margin(0, 1), 1]
    assert read_target(Margin(2), object()) == Margin(2)


@pytest.mark.parametrize("scale", [1, 40])
def test_log_odds_are_those_of_the_softmax(scale: int) -> None:
    z = logits(6, 4) * scale
    every = class_log_odds(z)
    for image in range(6):
        for c in range(4):
            own, others = z[image, c], [z[image, k] for k in range(4) if k != c]
            expected = float(own) - math.log(sum(math.exp(float(o - own)) for o in others)) - float(own)
            assert float(every[image, c]) == pytest.approx(expected, rel=1e-6, abs=1e-9)
            one = log_odds(z[image : image + 1], torch.tensor([c]))
            assert float(one) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    torch.testing.assert_close(every.sigmoid(), SINGLE.probabilities(z))


def test_a_logit_that_stands_alone_is_its_log_odds() -> None:
    z = logits(3, 4)
    assert torch.equal(class_log_odds(z, MULTI), z)
    assert torch.equal(class_log_odds(z[:, :1]), z[:, :1])
    assert torch.equal(MULTI.probabilities(z), z.sigmoid())
    assert torch.equal(SINGLE.probabilities(z[:, :1]), z[:, :1].sigmoid())
    with pytest.raises(ModelError, match="two classes or more"):
        SCORES["log_odds"](z[:, :1], torch.zeros(3, dtype=torch.long), SINGLE)


@pytest.mark.parametrize("kind", [SINGLE, MULTI])
def test_probabilities_of_arrays_and_tensors_agree(kind: ProblemType) -> None:
    z = logits(5, 4)
    np.testing.assert_allclose(kind.probabilities(z.numpy()), kind.probabilities(z).numpy(), rtol=1e-12)
    exact = kind.probabilities(z.float().numpy())
    assert exact.dtype == np.float64
    x = z.clone().requires_grad_()
    assert torch.autograd.gradcheck(kind.probabilities, (x,))


def test_targets_of_images() -> None:
    assert image_targets(None, 2) == [None, None]
    assert image_targets(torch.tensor([1, 2]), 2) == [1, 2]
    assert image_targets([1], 3) == image_targets(np.array([1]), 3) == [1, 1, 1]
    assert image_targets([Margin(1), np.int64(0)], 2) == [Margin(1), 0]
    for wrong in ([0, 1], "fake", True, 1.0, [0.5, 1.0, 2.0], [(0,), (1,), (0,)]):
        with pytest.raises(UsageError, match="does not fit 3 images"):
            image_targets(wrong, 3)
