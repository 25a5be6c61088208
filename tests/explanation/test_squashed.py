"""A photograph squashed far from its aspect is said to be: in the record, on the page, under the pictures."""

import numpy as np
import pytest
import tiny_models as tiny
import transformers as hf
from PIL import Image

import xai
from xai.core import Geometry
from xai.explanation import warnings_of
from xai.models import Classifier, Preprocessing
from xai.report.caveats import caveats_of as typed_caveats_of
from xai.report.overlay import DrawnImage
from xai.report.words import conditions, squashed

WIDE = "160×64 pixels (width × height) became 32×32, an aspect changed 2.5 times"


@pytest.mark.parametrize(
    ("size", "resized", "crop", "given", "change"),
    [
        ((200, 100), (50, 50), None, (50, 50), 2.0),
        ((100, 300), (50, 50), None, (50, 50), 3.0),
        ((200, 100), (100, 50), (50, 50), (50, 50), 1.0),  # resized as it is, then cut
        ((300, 200), (60, 30), None, (30, 60), 4 / 3),
        ((1280, 853), (48, 48), None, (48, 48), 1280 / 853),
    ],
)
def test_change_of_aspect(size, resized, crop, given, change):
    assert Geometry.resize_crop(size, resized, crop).aspect_change(given) == pytest.approx(change)


def caveats_of(explanations):
    return [one.text for one in typed_caveats_of(explanations)]


def test_from_which_change_on_it_is_said():
    for size, said in [((300, 200), 0), ((1280, 853), 0), ((160, 100), 1), ((9, 16), 1), ((50, 50), 0)]:
        assert len(squashed(Geometry.resize_crop(size, (32, 32), None), (32, 32))) == said
    assert squashed(Geometry.resize_crop((300, 100), (300, 100), None), None) == []  # nothing is resized


def explained(**options):
    model = tiny.randomize(hf.ViTForImageClassification(hf.ViTConfig(**tiny.TOWER)))
    classifier = Classifier(model, ["a", "b"], name="squashing", preprocessing=Preprocessing(size=(32, 32)))
    noise = np.random.default_rng(0).integers(0, 256, (64, 160, 3), np.uint8)
    (found,) = xai.explain(Image.fromarray(noise), classifier, method="chefer", **options)
    return found


def test_it_is_said_in_record_page_and_picture():
    found = explained()
    assert any(WIDE in one for one in warnings_of(found))
    assert any(WIDE in one and "--box" in one for one in caveats_of({"a": found}))
    assert any(WIDE in one for one in conditions(found, DrawnImage(found)))


def test_a_crop_of_its_own_aspect_is_not_warned_of():
    found = explained(box=(10, 0, 64, 64))
    assert not any("squashed" in one for one in [*warnings_of(found), *caveats_of({"a": found})])
