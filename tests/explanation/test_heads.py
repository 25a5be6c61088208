"""Independent labels from answer to page; class indices of NumPy; presets by name."""

import json

import numpy as np
import pytest
import tiny_models as tiny
import torch
from tiny_detector import Pooled, classifier, photo, write_detector
from torch import nn
from typer.testing import CliRunner

import xai
from xai import attr, metrics
from xai.attr import PRESETS, full_options
from xai.bench import BenchmarkConfig
from xai.bench.config.method_configurations import configured_methods
from xai.cli.main import app
from xai.core import Explanation, Geometry, Margin, ProblemType, Sample, UsageError
from xai.explanation import Explainer
from xai.explanation.files import record_of
from xai.explanation.removal import check_removal
from xai.metrics.protocol import protocol
from xai.models import Classifier, Preprocessing
from xai.perturb import Stream, make_operator
from xai.report.caveats import caveats_of as typed_caveats_of
from xai.report.words import verdict

MULTI = "multi_label_classification"
LABELS = ("blur", "swap", "gan")


def caveats_of(explanations):
    return [one.text for one in typed_caveats_of(explanations)]


def multi(labels=LABELS) -> Classifier:
    return Classifier(
        Pooled(len(labels), 4).eval(),
        labels,
        name="tiny",
        preprocessing=Preprocessing(shortest_edge=32, crop=(32, 32)),
        problem_type=MULTI,
    )


def explained(logits, label=None, labels=LABELS, maps=("blur",)) -> Explanation:
    image = photo()
    return Explanation(
        sample=Sample("a", image, label=label),
        labels=labels,
        logits=np.array(logits, np.float32),
        maps={name: np.ones((4, 4), np.float32) for name in maps},
        geometry=Geometry(image.size, (0, 0, *image.size)),
        method="x",
        problem_type=ProblemType.MULTI_LABEL,
    )


def test_two_labels_that_are_both_sure_are_both_said():
    one = explained([4.0, 3.0, -2.0], label="swap")
    assert one.probabilities == pytest.approx({"blur": 0.98201379, "swap": 0.95257413, "gan": 0.11920292})
    assert one.predicted == "blur" and one.predicted_labels == ("blur", "swap")
    record = record_of(one)
    assert record["problem_type"] == MULTI and record["predicted_labels"] == ["blur", "swap"]
    assert verdict(one) == "predicted: blur (98.2%), swap (95.3%) · independent labels · true class: swap"
    (said,) = [text for text in caveats_of({"x": one}) if "label" in text or "wrong" in text]
    assert said.startswith("The labels are independent") and "blur, swap" in said


def test_a_missed_label_an_unsure_one_and_none_at_all_are_said():
    said = caveats_of({"x": explained([-3.0, -0.1, -4.0], label="gan", maps=("swap-gan",))})
    assert said[0].startswith("The model is wrong here: it gives the true label gan 1.8%")
    assert "None reaches 50%; the likeliest is swap." in said[1]
    assert said[2] == "The model is not sure of swap (47.5%): a label counts as found from 50%."
    assert "difference of two logits" in said[3]
    assert verdict(explained([-3.0, -1.0, -4.0])).startswith("predicted: none · likeliest: swap")


def test_the_explanation_of_a_model_with_independent_labels():
    model = multi()
    (one,) = xai.explain(photo(), model, method="occlusion")
    with torch.no_grad():
        expected = torch.sigmoid(model(model.preprocess(photo())[None]))[0]
    assert list(one.probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-6)
    assert list(one.maps) == [LABELS[i] for i in expected.topk(2).indices]


def test_the_margin_of_an_independent_label_is_its_logit():
    model = multi()
    x = tiny.pixels(2)
    method = attr.create("gradient_weighted_attention", model)
    torch.testing.assert_close(method.attribute_patches(x, Margin(1)), method.attribute_patches(x, 1))
    contrast = method.attribute_patches(x, Margin(1, 0))
    parts = method.attribute_patches(x, 1) - method.attribute_patches(x, 0)
    torch.testing.assert_close(contrast, parts, rtol=1e-4, atol=1e-7)
    exclusive = attr.create("gradient_weighted_attention", classifier(LABELS))
    assert not torch.allclose(exclusive.attribute_patches(x, Margin(1)), exclusive.attribute_patches(x, 1))
    assert Explainer(model, target=Margin(1)).targets.chosen == (("swap", 1),)


@pytest.mark.parametrize("value", ["margin", "probability", "logit"])
def test_curves_follow_the_label_alone(value):
    model, x = multi(), tiny.pixels(2)
    relevance = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(0))
    said = protocol({"base": "vit-mean", "value": value, "steps": 4})
    found = metrics.deletion(model, x, relevance, 2, said)
    with torch.no_grad():
        z = model(x)[:, 2].double()
    torch.testing.assert_close(
        found.clean, z.sigmoid() if value == "probability" else z, rtol=1e-5, atol=1e-6
    )


def test_accuracy_is_refused_where_labels_are_independent():
    model, x = multi(), tiny.pixels(1)
    with pytest.raises(UsageError, match="chefer.*accuracy"):
        metrics.deletion(model, x, torch.rand(1, 4, 4), 1, "chefer")
    metrics.deletion(classifier(LABELS), x, torch.rand(1, 4, 4), 1, "chefer")


@pytest.mark.parametrize("name", ["rise", "tis", "vit_cx"])
def test_methods_that_read_a_probability_read_the_labels_own(name):
    """A label whose logit the others cannot touch: its map is the same whatever they say."""
    options = {"rise": {"n_masks": 8}, "tis": {"n_masks": 4, "operator": "mean"}, "vit_cx": {"max_masks": 4}}
    plain, louder = multi(), multi()
    with torch.no_grad():
        louder.module.head.bias[0] += 9
    x = tiny.pixels(1)
    maps = [attr.create(name, one, **options[name]).attribute_patches(x, 2) for one in (plain, louder)]
    torch.testing.assert_close(*maps)


def test_removal_is_measured_on_the_labels_logit():
    model, x = multi(), tiny.pixels(1)
    maps = {"m": np.random.default_rng(0).random((1, 4, 4), np.float32)}
    ((found,),) = check_removal(Stream(model), make_operator("mean"), x, [1], maps, LABELS)
    with torch.no_grad():
        assert found.clean == pytest.approx(float(model(x)[0, 1]), abs=1e-5)


def test_infidelity_of_a_margin_is_that_of_the_logit():
    model, x = multi(), tiny.pixels(1)
    relevance = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0))
    asked = [metrics.infidelity(model, x, relevance, t, samples=4) for t in (Margin(1), 1)]
    torch.testing.assert_close(*asked)


INDICES = [np.int64(1), np.uint8(1), np.array(1), torch.tensor(1)]


@pytest.mark.parametrize("index", INDICES, ids=lambda i: f"{type(i).__name__} {i.dtype}")
def test_class_indices_of_other_libraries(index):
    model, x = classifier(LABELS), tiny.pixels(2)
    method = attr.create("gradient_weighted_attention", model)
    expected = method.attribute_patches(x, 1)
    for target in (
        index,
        [index, index],
        np.array([1, 1], np.int16),
        torch.tensor([1, 1], dtype=torch.int32),
    ):
        torch.testing.assert_close(method.attribute_patches(x, target), expected)
    torch.testing.assert_close(method.attribute_patches(x, Margin(index, np.int64(0))),
                               method.attribute_patches(x, Margin(1, 0)))  # fmt: skip
    ig = attr.create("integrated_gradients", model, n_steps=2)
    torch.testing.assert_close(ig.attribute_patches(x, index), ig.attribute_patches(x, 1))
    relevance = torch.rand(2, 4, 4)
    for target in (index, [index, index]):
        found = metrics.infidelity(model, x, relevance, target, samples=2)
        torch.testing.assert_close(found, metrics.infidelity(model, x, relevance, 1, samples=2))
    (one,) = xai.explain(photo(), model, target=index, method="center_prior")
    (two,) = xai.explain(photo(), model, target=[index, np.int64(0)], method="center_prior")
    assert list(one.maps) == ["swap"] and list(two.maps) == ["swap", "blur"]
    (three,) = xai.explain(photo(), model, target=np.array([2, 0]), method="center_prior")
    assert list(three.maps) == ["gan", "blur"]
    assert json.loads(json.dumps(record_of(one)))["maps"].keys() == {"swap"}


@pytest.mark.parametrize(
    "target", [True, np.True_, np.array([True, False]), np.array(True), 1.0, np.float32(1)]
)
def test_what_is_no_class_index_is_refused(target):
    model, x = classifier(LABELS), tiny.pixels(2)
    with pytest.raises(UsageError):
        attr.create("gradient_weighted_attention", model).attribute_patches(x, target)
    with pytest.raises(UsageError):
        metrics.infidelity(model, x, torch.rand(2, 4, 4), target, samples=2)
    with pytest.raises(UsageError):
        Explainer(model, target=target)
    with pytest.raises(UsageError):
        Margin(target)


def test_a_name_means_the_same_wherever_it_is_said(tmp_path):
    """The default explanation, the method's name, the preset's name, and a benchmark row by name alone."""
    model = classifier()
    found = {
        how: xai.explain(photo(), model, target="fake", **how_options)[0]
        for how, how_options in {
            "default": {},
            "method": {"method": "integrated_mask_gradient"},
            "preset": {"method": "faithful"},
        }.items()
    }
    default = found["default"]
    assert default.options["n_steps"] == 8 and default.preset == "faithful"
    for one in found.values():
        assert (one.method, dict(one.options)) == ("integrated_mask_gradient", dict(default.options))
        np.testing.assert_array_equal(one.maps["fake"], default.maps["fake"])
    config = BenchmarkConfig.model_validate(
        {"data": {"images": ["x"]}, "methods": ["integrated_mask_gradient", "faithful"], "explain": "logit"}
    )
    by_name, by_preset = configured_methods(config)
    assert dict(by_name.options) == dict(default.options) and by_name.hash == by_preset.hash


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS.keys())
def test_a_preset_is_shown_as_one(preset):
    explainer = Explainer(classifier(), preset.name)
    assert explainer.preset == preset.name and explainer.method_name == preset.method
    assert explainer.options == full_options(preset.method, preset.options)
    changed = {"clamp": "heads"} if preset.options.get("clamp", 0) != "heads" else {"clamp": None}
    assert Explainer(classifier(), preset.name, **changed).preset != preset.name


def test_presets_on_the_command_line(tmp_path):
    photo().save(tmp_path / "a.png")
    said = ["--config", str(write_detector(tmp_path)), "--json", "--out", str(tmp_path / "out")]
    run = CliRunner().invoke(app, ["explain", str(tmp_path / "a.png"), "--method", "script", *said])
    assert run.exit_code == 0, run.output
    record = json.loads(run.stdout)["explanations"][0]
    assert record["preset"] == "script" and record["method"]["name"] == "gradient_weighted_attention"
    run = CliRunner().invoke(
        app, ["compare", str(tmp_path / "a.png"), "--methods", "faithful,one_pass,chefer", "--report", *said]
    )
    assert run.exit_code == 0, run.output
    (row,) = json.loads(run.stdout)["images"]
    assert {name: record["preset"] for name, record in row.items()} == {
        "faithful": "faithful",
        "one_pass": "one_pass",
        "chefer": None,
    }


def test_a_problem_type_on_the_command_line(tmp_path):
    photo().save(tmp_path / "a.png")
    path = write_detector(tmp_path)
    run = CliRunner().invoke(app, ["doctor", str(path), "--json", "--problem-type", MULTI])
    assert run.exit_code == 0 and json.loads(run.stdout)["problem_type"] == MULTI
    run = CliRunner().invoke(
        app,
        ["explain", str(tmp_path / "a.png"), "--config", str(path), "--problem-type", MULTI, "--report",
         "--json", "--out", str(tmp_path / "out")],
    )  # fmt: skip
    assert run.exit_code == 0, run.output
    (record,) = json.loads(run.stdout)["explanations"]
    shares = {name: 1 / (1 + np.exp(-z)) for name, z in record["logits"].items()}
    assert record["probabilities"] == pytest.approx(shares)
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert "The labels are independent" in page and "Probability of each label, independent" in page


def test_a_wrapped_classifier_is_what_it_wraps():
    x = tiny.pixels(1)
    said = {"base": "rise", "steps": 2, "operator": "mean", "insertion_operator": "mean"}
    found = metrics.deletion(nn.DataParallel(multi()), x, torch.rand(1, 32, 32), 1, said)
    with torch.no_grad():
        torch.testing.assert_close(found.clean, multi()(x)[:, 1].double().sigmoid())
