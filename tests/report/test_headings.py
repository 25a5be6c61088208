"""What a page of explanations is called, and its caveats: said once, marked where they apply."""

import numpy as np
import pytest
from report_pages import explanation_page, smooth

from xai.core import ProblemType
from xai.core.language import language
from xai.core.map_statistics import NEAR_CONSTANT, is_near_constant, relative_range
from xai.report import words
from xai.report.caveats import blind, on_prediction
from xai.report.footnotes import footnotes_of
from xai.report.headings import about_page, counts
from xai.report.image_payload import Caveat

DATE = "2026-01-02T03:04:05+00:00"
LABELS = ("real", "fake")


@pytest.fixture(scope="module")
def images():
    return explanation_page(5).images


def noted(image, *caveats):
    return image.model_copy(update={"notes": list(caveats), "caveats": [one.text for one in caveats]})


def test_a_heading_says_what_was_judged_how(images):
    fakes = sum(image.predicted == "fake" for image in images)
    said = about_page(images, LABELS, "demo", DATE)
    assert said == f"5 images judged by the shipped detector, 2026-01-02: {fakes} fake and {5 - fakes} real"
    assert (
        about_page(images[:1], LABELS, "my-vit", DATE)
        == "photo_0.jpg judged real (80.0%) by my-vit, 2026-01-02"
    )
    compared = about_page(images, LABELS, None, DATE, methods=3)
    assert compared.startswith("3 methods compared. 5 images judged by the model, 2026-01-02: ")
    independent = about_page(images, LABELS, "tags", DATE, problem_type=ProblemType.MULTI_LABEL)
    assert independent == "5 images explained with tags, 2026-01-02"
    with language("zh"):
        assert "自带检测器" in about_page(images, LABELS, "demo", DATE)


def test_of_many_classes_the_most_frequent_are_counted(images):
    named = ["cat", "cat", "dog", "owl", "fig"]
    some = [image.model_copy(update={"predicted": name}) for image, name in zip(images, named, strict=True)]
    assert counts(some, ["cat", "dog", "owl", "fig"]) == "2 cat, 1 dog, 1 owl and 1 others"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(("real", "fake"), ["fake", "real"]), (("fake", "real"), ["fake", "real"]), (("a", "b"), ["b", "a"])],
)
def test_of_two_labels_the_fake_one_comes_first(labels, expected):
    assert words.in_order(labels, 2) == expected
    assert words.in_order([*labels, "more"], 2) == [*expected, "more"]
    assert words.in_order(labels, 3) == list(labels)


def test_caveats_of_a_kind_have_one_footnote(images):
    cut = [blind((100, 100), (left, 0, 100, 100), cropped=False) for left in (10, 30)]
    wrong = on_prediction({"fake": 0.9, "real": 0.1}, "fake", "real")
    sentence = Caveat(kind="", text="Something else.", short="note")
    some = [noted(images[0], *wrong, *cut[0]), noted(images[1], *cut[1]), noted(images[2], sentence)]
    notes, marks = footnotes_of(some)
    assert [(one.mark, one.images) for one in notes] == [(1, 1), (2, 2), (3, 1)]
    assert notes[0].text == wrong[0].text  # the only one of its kind: as it is
    assert notes[1].text == "The model saw part of the image; what its preprocessing cut off had no say."
    assert notes[2].text == "Something else."
    assert [[(one.mark, one.words) for one in of_image] for of_image in marks] == [
        [(1, "the model is wrong"), (2, "90.0% of the image seen")],
        [(2, "70.0% of the image seen")],
        [(3, "note")],
    ]
    assert marks[1][0].text.startswith("The model saw 70.0% of the image")


def test_what_the_page_says_of_all_maps_is_not_marked(images):
    signs = Caveat(kind="signs", text="The map has two signs.", short="")
    assert footnotes_of([noted(images[0], signs)]) == ([], [[]])


def test_a_map_is_nearly_constant_where_its_patches_hardly_differ():
    even = np.full((3, 3), 2.0)
    assert relative_range(even) == 0 and is_near_constant(even)
    edge = even.copy()
    edge[0, 0] -= 2 * NEAR_CONSTANT
    assert relative_range(edge) == pytest.approx(NEAR_CONSTANT)
    assert is_near_constant(-even) and is_near_constant(even - [[0, 0, 0.19]])
    assert not is_near_constant(even - [[0, 0, 0.21]])
    assert not is_near_constant(even * 0) and relative_range(even * 0) == 0
    assert relative_range(np.array([[-1.0, 1.0]])) == 2
    assert not is_near_constant(smooth(0))


def test_options_that_change_no_map_are_not_shown():
    options = {"n_steps": 8, "internal_batch_size": 1, "clamp": None}
    assert words.seen_options(options) == {"n_steps": 8}
