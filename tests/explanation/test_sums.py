"""Maps that do not sum to the change of the score, as their methods say they do, are said to miss it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_detector import classifier, photo, write_photos

from xai.attr import METHODS, IntegratedMaskGradient, MethodInfo, PatchAttribution, Saliency
from xai.core import Sample, UsageError
from xai.core.map_statistics import is_incomplete
from xai.explanation import explain
from xai.explanation.explain import panels_of
from xai.explanation.explainer import Explainer
from xai.report.caveats import caveats_of
from xai.report.text import number

pytestmark = pytest.mark.usefixtures("coarse_pictures")


@pytest.fixture(scope="module")
def detector():
    return classifier()


@pytest.fixture(scope="module")
def jagged():
    """One whose answer swings to and fro between the baseline and the image: few steps miss that."""
    model = classifier()
    model.register_forward_hook(lambda module, given, logits: torch.sin(400 * logits))
    return model


def explained(model, method, **options):
    (found,) = Explainer(model, method, ["real", "fake"], **options).explain([Sample(id="a", image=photo())])
    return found


@pytest.mark.parametrize("method", ["integrated_gradients", "kernel_shap"])
def test_the_change_of_the_score_is_known(detector, method):
    found = explained(detector, method)
    assert list(found.score_changes) == ["real", "fake"]
    for name, values in found.maps.items():
        assert values.sum() == pytest.approx(found.score_changes[name], rel=0.02, abs=1e-4), name
        assert not is_incomplete(found, name)


def test_it_is_that_from_the_baseline(detector):
    found = explained(detector, "integrated_gradients")
    pixels = detector.preprocess(photo())[None]
    with torch.no_grad():
        change = (detector(pixels) - detector(torch.zeros_like(pixels)))[0]
    np.testing.assert_allclose(list(found.score_changes.values()), change, rtol=1e-4, atol=1e-6)


def test_methods_of_few_passes_make_no_more(detector, monkeypatch):
    assert explained(detector, "integrated_mask_gradient").score_changes == {}
    assert explained(detector, "saliency").score_changes == {}


def test_a_map_that_misses_it_is_told(jagged, tmp_path):
    (path,) = write_photos(tmp_path / "in", 1)
    options = {"method": "integrated_gradients", "n_steps": 2}
    (found,) = explain(path, jagged, target=["real", "fake"], out=tmp_path / "out", **options)
    told = [name for name in found.maps if is_incomplete(found, name)]
    assert told  # the swings differ by class; those that are missed are told, no others
    (path,) = (tmp_path / "out").glob("*.json")
    record = json.loads(path.read_text("utf-8"))
    for name, of in record["maps"].items():
        said = [text for text in record["warnings"] if text.startswith(f"The map for {name} sums to")]
        assert len(said) == (name in told)
        assert of["score_change"] == pytest.approx(found.score_changes[name])
        assert all(number(of[key]) in text for key in ("sum", "score_change") for text in said)
        assert not any("-" in text for text in said), "a minus is no hyphen"
    (kind,) = {one.kind for one in caveats_of({"ig": found}) if "sums to" in one.text}
    assert kind == "incomplete"
    both = caveats_of({"ig": found, "other": found})  # the method is named where there are several
    assert sum(one.kind == "incomplete" and "(other)" in one.text for one in both) == len(told)


class WithDelta(PatchAttribution):
    """Measures its delta itself and says of no point that it starts there."""

    info = MethodInfo("with_delta", "perturbation", True, True, 200, 0, "none", "Ones.", complete=True)

    def compute_convergence_delta(self, attributions, start_point, end_point, target=None, more=None):
        return torch.zeros(len(end_point))

    def _relevance(self, pixels, targets, args):
        grid = self._grid(pixels)
        return pixels.new_ones(len(targets), len(pixels), grid.rows, grid.cols)


class Slow(IntegratedMaskGradient):
    """Complete, of many passes, and with maps of layers."""

    info = replace(IntegratedMaskGradient.info, name="slow", forwards=100)


@pytest.fixture
def foreign():
    """Classes that are explained with are registered; other tests count what is."""
    yield
    for name in ("with_delta", "slow"):
        METHODS._entries.pop(name, None)


@pytest.mark.usefixtures("foreign")
def test_a_method_that_does_not_say_where_it_starts_explains(detector):
    assert explained(detector, WithDelta).score_changes == {}


def test_a_method_without_a_delta_says_so(detector):
    pixels = detector.preprocess(photo())[None]
    with pytest.raises(UsageError, match="saliency has no delta"):
        Saliency(detector).compute_convergence_delta(pixels, None, pixels, 0)


@pytest.mark.usefixtures("foreign")
def test_maps_of_layers_are_not_held_against_the_sum_of_all(detector):
    explainer = Explainer(detector, Slow, ["real", "fake"])
    (found,) = explainer.explain([Sample(id="a", image=photo())])
    assert set(found.score_changes) == {"real", "fake"}
    ((by_layer, _),) = (one.args for one in panels_of(explainer, found, layers=True).values())
    assert all(one.score_changes == {} for one in by_layer.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", ["integrated_gradients", "kernel_shap"])
def test_an_image_that_is_the_baseline_is_not_told(method, dtype):
    """Nothing changes there but by rounding."""
    options = {"baseline": "mean"} if method == "integrated_gradients" else {"n_samples": 100}
    explainer = Explainer(classifier().to(dtype), method, ["real", "fake", "fake-real"], **options)
    for colour in ((0, 0, 0), (12, 200, 77), (128, 128, 128)):
        image = Image.new("RGB", (32, 32), colour)
        (found,) = explainer.explain([Sample(id="a", image=image)])
        assert set(found.score_changes) == set(found.maps) == {"real", "fake", "fake-real"}
        assert not [name for name in found.maps if is_incomplete(found, name)], found.score_changes


def test_rounded_logits_are_not_told(detector):
    """As the shipped detector answers in bfloat16 to an image of the mean colour."""
    found = explained(detector, "saliency")
    rounded = replace(
        found,
        logits=np.array([-3.97, 3.97]),
        maps={"fake": np.array([[0.15, -0.165]])},
        score_changes={"fake": -0.0312},
    )
    assert is_incomplete(rounded, "fake")  # in float32 it would be off
    assert not is_incomplete(replace(rounded, model={"dtype": "bfloat16"}), "fake")
    assert is_incomplete(replace(rounded, model={"dtype": "bfloat16"}, score_changes={"fake": 0.1}), "fake")


def test_how_far_is_far(detector):
    found = explained(detector, "saliency")
    for values, change, missed in (
        ([3.0, -1.0], 1.4, False),
        ([3.0, -1.0], 1.3, True),
        ([3.0, -1.0], -2.0, True),
        ([30.0, -29.9], 0.9, False),  # nearly nothing is left of much for and against
        ([0.0, 0.0], 1.0, True),
    ):
        found.maps["real"] = np.array([values])
        found.score_changes["real"] = change
        assert is_incomplete(found, "real") == missed, (values, change)
