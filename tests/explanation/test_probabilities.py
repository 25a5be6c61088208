"""A model that answers with probabilities is refused by every way to a map."""

import pytest
import torch
from tiny_detector import classifier, photo

from xai.core import ModelError
from xai.explanation import explain
from xai.models import Classifier


class Squashed(torch.nn.Module):
    """One probability, as detectors answer that end in a sigmoid."""

    def __init__(self, detector):
        super().__init__()
        self.detector = detector

    def forward(self, pixels):
        logits = self.detector(pixels)
        return (logits[:, 1:] - logits[:, :1]).sigmoid()


@pytest.mark.parametrize("method", [None, "raw_attention", "occlusion", "saliency"])
def test_probabilities_in_place_of_logits_are_refused_by_methods_with_and_without_gradients(method):
    detector = classifier()
    model = Classifier(
        Squashed(detector.module), ["real", "fake"], name="x", preprocessing=detector.preprocessing
    )
    with pytest.raises(ModelError, match=r"probabilities \(its last step is a sigmoid\)"):
        explain(photo(), model, method=method)
