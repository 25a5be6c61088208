"""Sink tokens: found by their length, written down, and told where a map lies on them."""

import json

import numpy as np
import pytest
from tiny_detector import classifier, photo, write_photos
from torch import nn

from xai.core import Sample
from xai.core.map_statistics import sinks_of
from xai.explanation import explain
from xai.explanation.explainer import Explainer
from xai.report.caveats import caveats_of as typed_caveats_of

pytestmark = pytest.mark.usefixtures("coarse_pictures")
ROW, COL = 1, 2


class Sinking(nn.Module):
    """A block that makes one patch's token longer."""

    def __init__(self, block: nn.Module, factor: float):
        super().__init__()
        self.block, self.factor = block, factor

    def forward(self, *args, **kwargs):
        tokens = self.block(*args, **kwargs).clone()
        tokens[:, 1 + 4 * ROW + COL] *= self.factor
        return tokens


@pytest.fixture(scope="module")
def detector():
    model = classifier()
    layers = next(m for m in model.modules() if isinstance(m, nn.ModuleList))
    for i, layer in enumerate(layers):
        layers[i] = Sinking(layer, 20 if i == 1 else 1)
    return model


def caveats_of(explanations):
    return [one.text for one in typed_caveats_of(explanations)]


def test_are_found_without_a_further_pass(detector, monkeypatch):
    passes, own = [], detector.forward
    monkeypatch.setattr(detector, "forward", lambda *args: passes.append(len(args[0])) or own(*args))
    explainer = Explainer(detector, "saliency", "fake")
    for _ in range(2):  # the first time it is found out how the model attends
        passes.clear()
        (found,) = explainer.explain([Sample(id="a", image=photo())])
    assert passes == [1, 1]  # the answer and the gradient
    assert np.argwhere(sinks_of(found)).tolist() == [[ROW, COL]]
    assert found.token_norms[ROW, COL] > 3 and np.median(found.token_norms) == pytest.approx(1, abs=0.1)


def test_the_record_names_them_and_their_share(detector, tmp_path):
    (path,) = write_photos(tmp_path / "in", 1)
    (found,) = explain(path, detector, out=tmp_path / "out", method="gradient_weighted_attention")
    content = json.loads((tmp_path / "out" / "0_explanation.json").read_text("utf-8"))
    assert content["sinks"]["patches"] == [[ROW, COL]] and content["sinks"]["ratio"] == 3
    assert content["sinks"]["norms"] == pytest.approx([found.token_norms[ROW, COL]], abs=1e-3)
    for name, values in found.maps.items():
        expected = np.abs(values[ROW, COL]) / np.abs(values).sum()
        assert content["maps"][name]["sink_share"] == pytest.approx(float(expected))


def test_a_sentence_says_so_where_a_map_lies_on_them(detector):
    sample = Sample(id="a", image=photo())
    (found,) = explain(sample, detector, method="uniform")  # 1 of 16 patches: too little to mention
    assert not any("sink" in one for one in caveats_of({"uniform": found}))
    found.maps["fake"][ROW, COL] *= 5  # of 20 in all
    (sentence,) = (one for one in caveats_of({"uniform": found}) if "sink" in one)
    assert (
        sentence.startswith("1 of 16 patches is a sink token")
        and "25.0% of the relevance for fake" in sentence
    )
    other = explain(sample, detector, method="uniform")[0]
    (sentence,) = (one for one in caveats_of({"a": found, "b": other}) if "sink" in one)
    assert "for fake (even map (a))" in sentence


def test_models_without_sinks_say_nothing(tmp_path):
    (path,) = write_photos(tmp_path / "in", 1)
    (found,) = explain(path, classifier(), out=tmp_path / "out", method="saliency")
    content = json.loads((tmp_path / "out" / "0_explanation.json").read_text("utf-8"))
    assert content["sinks"]["patches"] == [] and content["warnings"] == []
    assert content["maps"]["fake"]["sink_share"] == 0
    assert not sinks_of(found).any()
