"""What a head's logits mean: where it is read from, what is refused, and what follows from it."""

from types import SimpleNamespace

import numpy as np
import pytest
import tiny_models as tiny
import torch
import transformers as hf
from tiny_detector import Pooled, classifier, write_detector
from torch import nn

import xai
from xai.core import ConfigError, ModelError, ProblemType, UsageError
from xai.models import Classifier

SINGLE, MULTI = "single_label_classification", "multi_label_classification"


def vit(labels: int, problem_type: str | None = None) -> nn.Module:
    names = {i: f"label {i}" for i in range(labels)}
    config = hf.ViTConfig(**tiny.TOWER, id2label=names, problem_type=problem_type)
    return tiny.randomize(hf.ViTForImageClassification(config)).eval()


class Logits(nn.Module):
    """(B, 3, H, W) → fixed logits; with a configuration, if one is given."""

    def __init__(self, logits: list[float], **config):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))
        if config:
            self.config = SimpleNamespace(**config)

    def forward(self, pixels):
        return self.logits.expand(len(pixels), -1) + 0 * pixels.flatten(1).sum(1, keepdim=True)


class Beside(nn.Module):
    """A classifier beside another part, as in an ensemble or a pipeline."""

    def __init__(self, inner):
        super().__init__()
        self.scale, self.inner = nn.Identity(), inner

    def forward(self, pixels):
        return self.inner(pixels)


def test_probabilities_are_sigmoids_or_shares():
    logits = np.array([2.0, 2.0, -1.0], np.float32)
    each = ProblemType.MULTI_LABEL.probabilities(logits)
    np.testing.assert_allclose(each, [0.8807970780, 0.8807970780, 0.2689414214], rtol=1e-9)
    shares = ProblemType.SINGLE_LABEL.probabilities(logits)
    np.testing.assert_allclose(shares, [0.4878555, 0.4878555, 0.0242889], atol=1e-6)
    far = ProblemType.MULTI_LABEL.probabilities(np.array([1e4, -1e4]))
    assert far.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    "wrap",
    [lambda m: m, nn.DataParallel, nn.Sequential, Beside, lambda m: Beside(nn.Sequential(m))],
    ids=["bare", "data parallel", "sequential", "beside another part", "nested"],
)
def test_the_configuration_says_it_however_deep_it_lies(wrap):
    names = [f"label {i}" for i in range(4)]
    assert xai.load(wrap(vit(4, MULTI)), names).problem_type is ProblemType.MULTI_LABEL
    assert xai.load(wrap(vit(4)), names).problem_type is ProblemType.SINGLE_LABEL
    with pytest.raises(ModelError, match="regression"):
        xai.load(wrap(vit(4, "regression")), names)


def test_a_module_of_ones_own_says_it_by_its_configuration():
    module = Logits([1.0, 2.0, 3.0], problem_type=MULTI)
    assert xai.load(module, ["a", "b", "c"]).problem_type is ProblemType.MULTI_LABEL
    assert xai.load(nn.DataParallel(module), ["a", "b", "c"]).problem_type is ProblemType.MULTI_LABEL


def test_a_tower_without_its_head_says_nothing_of_the_new_one():
    class Detector(nn.Module):
        def __init__(self):
            super().__init__()
            self.tower, self.head = vit(4, MULTI).vit, nn.Linear(tiny.TOWER["hidden_size"], 2)

        def forward(self, pixels):
            return self.head(self.tower(pixels).last_hidden_state[:, 0])

    assert xai.load(Detector().eval(), ["real", "fake"]).problem_type is ProblemType.SINGLE_LABEL


@pytest.mark.parametrize("labels", [1, 3])
def test_a_regression_head_is_refused_by_name(tmp_path, labels):
    spec = tiny.save_pretrained(tmp_path, vit(labels, "regression"))
    with pytest.raises(ModelError, match="regression head") as caught:
        xai.load(spec)
    assert "single_label_classification" in str(caught.value)
    with pytest.raises(ModelError, match="regression"):
        xai.load(Logits([1.0, 2.0]), ["a", "b"], problem_type="regression")


def test_one_output_that_is_a_logit_is_explained_when_it_is_said(tmp_path):
    spec = tiny.save_pretrained(tmp_path, model := vit(1, "regression"))
    found = xai.load(spec, problem_type=SINGLE)
    pixels = tiny.pixels(2)
    with torch.no_grad():
        z = model(pixels).logits[:, 0]
        expected = torch.sigmoid(z).double().numpy()
        got = found.problem_type.probabilities(found(pixels).numpy())
    np.testing.assert_allclose(got[:, 1], expected, rtol=1e-6)
    with pytest.raises(UsageError, match="contradicts"):
        xai.load(tiny.save_pretrained(tmp_path / "three", vit(3, MULTI)), problem_type=SINGLE)
    several = tiny.save_pretrained(tmp_path / "several", vit(3, "regression"))
    with pytest.raises(ModelError, match="regression"):
        xai.load(several, problem_type=SINGLE)


# transformers 5 refuses SINGLE with one label
@pytest.mark.parametrize("problem_type", [None, MULTI])
def test_one_logit_is_a_class_against_everything_else(tmp_path, problem_type):
    """One label, true or not: sigmoid of its logit, whichever way the configuration calls it."""
    found = xai.load(tiny.save_pretrained(tmp_path, model := vit(1, problem_type)))
    assert found.labels == ("not label 0", "label 0")
    assert found.problem_type is ProblemType.SINGLE_LABEL
    with torch.no_grad():
        z, logits = model(tiny.pixels()).logits[:, 0], found(tiny.pixels())
    torch.testing.assert_close(logits, torch.stack([-z / 2, z / 2], 1))


def test_one_logit_has_no_independent_labels():
    found = xai.load(Logits([0.5]), ["no", "yes"], problem_type=MULTI)
    with pytest.raises(ModelError, match="one logit"):
        found(tiny.pixels())


def test_parts_that_contradict_each_other_are_refused():
    class Ensemble(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = vit(3, MULTI), vit(3, SINGLE)

        def forward(self, pixels):
            return self.first(pixels).logits + self.second(pixels).logits

    with pytest.raises(ModelError, match="several kinds"):
        xai.load(Ensemble(), ["a", "b", "c"])


def test_the_yaml_says_it(tmp_path):
    path = write_detector(tmp_path)
    plain = xai.load(path)
    assert plain.problem_type is ProblemType.SINGLE_LABEL
    assert xai.load(path, problem_type=MULTI).problem_type is ProblemType.MULTI_LABEL
    text = path.read_text()
    path.write_text(text + f"problem_type: {MULTI}\n")
    found = xai.load(path)
    assert found.problem_type is ProblemType.MULTI_LABEL
    assert found.describe()["problem_type"] == MULTI
    assert found.fingerprint != plain.fingerprint
    with pytest.raises(ConfigError, match="problem_type"):
        xai.load(path, problem_type=SINGLE)
    path.write_text(text + "problem_type: regression\n")
    with pytest.raises(ModelError, match="regression"):
        xai.load(path)
    path.write_text(text + "problem_type: multilabel\n")
    with pytest.raises(ConfigError, match="problem_type"):
        xai.load(path)


def test_an_unknown_problem_type_names_the_valid_ones():
    with pytest.raises(UsageError, match="multi_label_classification"):
        xai.load(Logits([1.0, 2.0]), ["a", "b"], problem_type="multi_label")


def test_siglip_was_trained_with_a_sigmoid_for_every_text(tmp_path):
    texts = ["a photo", "a fake"]
    spec = tiny.save_pretrained(tmp_path, tiny.siglip_model(), tiny.word_tokenizer())
    assert xai.load(spec, prompts=texts).problem_type is ProblemType.MULTI_LABEL
    found = xai.load(spec, prompts=texts, problem_type=SINGLE)
    assert found.problem_type is ProblemType.SINGLE_LABEL


def test_exclusive_classes_have_the_fingerprint_that_they_always_had():
    found = classifier()
    said = Classifier(Pooled(2, 4).eval(), found.labels, name="x", preprocessing=found.preprocessing)
    assert said.fingerprint == found.fingerprint
    explicit = Classifier(
        Pooled(2, 4).eval(), found.labels, name="x", preprocessing=found.preprocessing, problem_type=SINGLE
    )
    assert explicit.fingerprint == found.fingerprint


@pytest.mark.parametrize("said", ["multi_label", ["multi_label_classification"], 3])
def test_a_configuration_that_says_no_problem_type_is_refused(said):
    module = Logits([1.0, 2.0], problem_type=said)
    with pytest.raises(UsageError, match="Unknown problem_type") as caught:
        xai.load(module, ["a", "b"])
    assert "ProblemType" not in str(caught.value)
