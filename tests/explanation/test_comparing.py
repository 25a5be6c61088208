"""Several methods on the same images and class."""

import numpy as np
import pytest
from tiny_detector import classifier, photo

import xai
from xai.attr import COMPARED
from xai.core import DataError, Sample, UsageError
from xai.explanation import Explainer, compare_methods

METHODS = {"gradient_weighted_attention": {"layers": "last_layer"}, "attention_rollout": {}}


def samples(count):
    return [Sample(str(number), photo(number)) for number in range(count)]


def test_every_method_explains_every_image_as_it_would_alone():
    model = classifier()
    comparison = compare_methods(model, METHODS, samples(3), "fake", batch_size=2)
    assert (comparison.label, comparison.failures) == ("fake", [])
    assert [list(row) for row in comparison.rows] == [list(METHODS)] * 3
    for name, options in METHODS.items():
        alone = Explainer(model, name, "fake", **options).explain(samples(3))
        for row, expected in zip(comparison.rows, alone, strict=True):
            np.testing.assert_allclose(row[name].maps["fake"], expected.maps["fake"], rtol=1e-4, atol=1e-7)


def test_the_default_class_is_what_the_first_image_is_taken_for():
    model = classifier(("a", "b", "c"))
    (explanation,) = Explainer(model).explain(samples(1))
    assert compare_methods(model, METHODS, samples(2)).label == explanation.predicted


def test_an_image_that_one_method_cannot_explain_is_a_failure(tmp_path):
    comparison = compare_methods(classifier(), METHODS, [tmp_path / "no.png", *samples(1)], "fake-real")
    assert [failure.name for failure in comparison.failures] == [str(tmp_path / "no.png")]
    assert comparison.label == "fake-real"
    assert len(comparison.rows) == 1


def test_no_image_at_all_and_too_many(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        compare_methods(classifier(), METHODS, [tmp_path / "no.png"])
    with pytest.raises(UsageError, match="at most 50"):
        compare_methods(classifier(), METHODS, samples(1) * 51)


def test_compare_takes_images_names_and_options_as_explain_does(tmp_path) -> None:
    model = classifier()
    found = xai.compare(
        samples(2), model, ["attention_rollout", "saliency"], target="fake", out=tmp_path, channels="sum"
    )
    assert [set(row) for row in found.rows] == [{"attention_rollout", "saliency"}] * 2
    assert found.rows[0]["saliency"].options["channels"] == "sum"
    assert {path.name for path in tmp_path.iterdir()} == {
        f"method_panel.{kind}" for kind in ("png", "safetensors", "json")
    }
    assert (found._repr_html_() or "").startswith("<iframe")
    alone = xai.explain(samples(1), model, method="saliency", target="fake", channels="sum")[0]
    np.testing.assert_array_equal(found.rows[0]["saliency"].maps["fake"], alone.maps["fake"])


def test_without_methods_the_default_stands_first() -> None:
    found = xai.compare(samples(1), classifier())
    assert list(found.rows[0]) == ["integrated_mask_gradient", *COMPARED]


def test_an_option_that_no_method_has_is_refused() -> None:
    with pytest.raises(UsageError, match="None of saliency has the option 'layerz'"):
        xai.compare(samples(1), classifier(), ["saliency"], layerz="all_layers")
