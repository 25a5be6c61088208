"""Several methods on the same images and class."""

import numpy as np
import pytest
from tiny_detector import classifier, photo

from xai.core import DataError, Sample, UsageError
from xai.explanation import Explainer, compare

METHODS = {"gradient_weighted_attention": {"layers": "last_layer"}, "attention_rollout": {}}


def samples(count):
    return [Sample(str(number), photo(number)) for number in range(count)]


def test_every_method_explains_every_image_as_it_would_alone():
    model = classifier()
    comparison = compare(model, METHODS, samples(3), "fake", batch_size=2)
    assert (comparison.label, comparison.failures) == ("fake", [])
    assert [list(row) for row in comparison.rows] == [list(METHODS)] * 3
    for name, options in METHODS.items():
        alone = Explainer(model, name, "fake", **options).explain(samples(3))
        for row, expected in zip(comparison.rows, alone, strict=True):
            np.testing.assert_allclose(row[name].maps["fake"], expected.maps["fake"], rtol=1e-4, atol=1e-7)


def test_the_default_class_is_what_the_first_image_is_taken_for():
    model = classifier(("a", "b", "c"))
    (explanation,) = Explainer(model).explain(samples(1))
    assert compare(model, METHODS, samples(2)).label == explanation.predicted


def test_an_image_that_one_method_cannot_explain_is_a_failure(tmp_path):
    comparison = compare(classifier(), METHODS, [tmp_path / "no.png", *samples(1)], "fake-real")
    assert [failure.name for failure in comparison.failures] == [str(tmp_path / "no.png")]
    assert comparison.label == "fake-real"
    assert len(comparison.rows) == 1


def test_no_image_at_all_and_too_many(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        compare(classifier(), METHODS, [tmp_path / "no.png"])
    with pytest.raises(UsageError, match="at most 50"):
        compare(classifier(), METHODS, samples(1) * 51)
