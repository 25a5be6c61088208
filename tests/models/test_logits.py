"""Answers of a module that are read as logits, and those that are refused."""

import pytest
import tiny_models as tiny
import torch
from torch import nn

import xai
from xai.core import ModelError


class Returns(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, pixels):
        return self.answer


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((torch.zeros(2, 2),), "returned tuple; expected logits"),
        (torch.zeros(2, 2, 4), r"shape \(2, 2, 4\), not \(batch, classes\)"),
        (torch.zeros(5), r"shape \(5,\), not"),
        (torch.tensor([[0.0, torch.nan]] * 2), r"answered with NaN or infinity \(float32\)"),
        (torch.tensor([[0.0, torch.inf]] * 2), "answered with NaN or infinity"),
        (torch.tensor([0, 1]), r"answered with int64[\s\S]*not the number of the largest"),
        (torch.tensor([[True, False]] * 2), "answered with bool"),
        (torch.zeros(1, 2), r"shape \(1, 2\) for 2 images"),
    ],
)
def test_answers_that_are_no_logits(answer, message):
    classifier = xai.load(Returns(answer), labels=["real", "fake"])
    with pytest.raises(ModelError, match=message):
        classifier(tiny.pixels())


class Ends(nn.Module):
    """A detector whose logits go through something more."""

    def __init__(self, classes, last):
        super().__init__()
        head = tiny.randomize(nn.Linear(tiny.WIDTH, classes), seed=1)
        self.inner, self.last = tiny.BenchDetector(tiny.clip_tower(), head).eval(), last

    def forward(self, pixels):
        return self.last(self.inner(pixels))


PROBABILITIES = {
    "softmax": (2, lambda z: z.softmax(1)),
    "softmax, kept": (2, lambda z: z.softmax(1).detach()),
    "sigmoid": (1, torch.sigmoid),
    "sigmoid, squeezed": (1, lambda z: z.sigmoid().squeeze()),
    "sigmoid of each": (2, torch.sigmoid),
    "1 - p and p": (1, lambda z: torch.cat([1 - z.sigmoid(), z.sigmoid()], 1)),
}


@pytest.mark.parametrize("kind", PROBABILITIES)
def test_probabilities_are_no_logits(kind):
    """Squashed again they would be wrong; one of a sigmoid would never be less than one half."""
    classifier = xai.load(Ends(*PROBABILITIES[kind]), labels=["real", "fake"])
    with pytest.raises(ModelError, match=r"answers with probabilities[\s\S]*p\.logit\(\)"):
        classifier(tiny.pixels())


@pytest.mark.parametrize(
    ("classes", "last"),
    [
        (2, lambda z: z.log_softmax(1)),
        (2, lambda z: z.softmax(1).log()),
        (1, lambda z: z.sigmoid().logit()),
        (2, lambda z: z * 0 + torch.tensor([0.25, 0.7])),
        (1, lambda z: z * 0 + 0.5),
    ],
)
def test_logits_between_zero_and_one_are_logits(classes, last):
    assert xai.load(Ends(classes, last), labels=["real", "fake"])(tiny.pixels()).shape == (2, 2)


@pytest.mark.parametrize("classes", [1, 2])
def test_the_answer_to_one_image_may_be_squeezed(classes):
    plain, squeezed = (Ends(classes, last) for last in (lambda z: z, torch.squeeze))
    for images in (1, 3):
        x = tiny.pixels(images)
        expected = xai.load(plain, labels=["real", "fake"])(x)
        torch.testing.assert_close(xai.load(squeezed, labels=["real", "fake"])(x), expected)
