"""From explanations to a page's data: numbers kept, views cut, caveats said."""

from base64 import b64decode
from hashlib import sha256
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr

from xai.core import DataError
from xai.report.about import model_description
from xai.report.explanations import LONGEST, compared_image, comparison_page, explanation_page, image_of
from xai.report.image_payload import Grid, Removal
from xai.report.payload import Page, PageMethod

MAPS = {"real": 0.05 + 0.15 * np.eye(4)[::-1], "fake": np.eye(4)}
ROW = PageMethod(name="gradient_weighted_attention", method="gradient_weighted_attention")
FACTS = {"model": {"name": "demo"}, "provenance": {}}


def page_of(*images, labels=("real", "fake"), **changes):
    return explanation_page(images, labels=labels, method=ROW, title="x", **FACTS, **changes)


def values_of(grid: Grid):
    codes = np.frombuffer(b64decode(grid.values), "<i2").reshape(grid.rows, grid.cols)
    return codes / 32767 * grid.limit


def pixels_of(uri):
    return np.asarray(Image.open(BytesIO(b64decode(uri.split(",", 1)[1]))).convert("RGB"))


def removal(top, row="gradient_weighted_attention"):
    return Removal(
        row=row,
        target="fake",
        value="margin",
        operator="token",
        removed=3,
        patches=16,
        clean=2,
        top=top,
        random=[1.0, 2.0],
    )


def test_numbers_names_and_places_are_those_of_the_explanation(explained, tmp_path):
    found = explained(MAPS, size=(300, 200), seen=(50, 0, 250, 200), label="fake", group="clip 7")
    image = image_of(
        found, input_hash="abc", products={"fake": np.ones((2, 3, 4, 4))}, removals=[removal(-1)]
    )
    assert (image.id, image.name, image.group, image.label) == ("photo", "photo.png", "clip 7", "fake")
    assert (image.width, image.height, image.input_hash, image.sha256) == (300, 200, "abc", None)
    assert (image.view, image.seen, image.box) == ((0, 0, 300, 200), (50, 0, 250, 200), None)
    assert (image.predicted, image.target) == ("fake", None)
    assert image.probabilities == found.probabilities
    for label, values in MAPS.items():
        np.testing.assert_allclose(values_of(image.maps[found.method][label]), values, atol=1 / 65534)
    assert (image.products["fake"].layers, image.products["fake"].heads) == (2, 3)
    assert pixels_of(image.picture).shape == (200, 300, 3)
    page = page_of(image)
    assert (page.classes, page.compared, page.shown) == (["fake", "real"], ("fake", "real"), (1, 1))
    assert Page.model_validate_json(page.model_dump_json(by_alias=True)) == page


def test_the_file_is_named_by_its_digest(explained, tmp_path):
    path = tmp_path / "photo.png"
    Image.new("RGB", (64, 64)).save(path)
    found = explained(MAPS)
    object.__setattr__(found.sample, "path", path)
    assert image_of(found).sha256 == sha256(path.read_bytes()).hexdigest()


def test_a_large_photograph_is_drawn_small_and_a_small_one_as_it_is(explained):
    assert pixels_of(image_of(explained(MAPS, size=(3000, 1500))).picture).shape == (LONGEST // 2, LONGEST, 3)
    assert pixels_of(image_of(explained(MAPS, size=(30, 20))).picture).shape == (20, 30, 3)
    assert pixels_of(image_of(explained(MAPS, size=(5000, 1))).picture).shape == (1, LONGEST, 3)


def test_a_small_crop_is_enlarged_and_picture_and_mask_show_the_same(explained):
    mask = np.zeros((400, 400), bool)
    mask[110:130, 120:140] = True
    found = explained(
        {"fake": MAPS["fake"]},
        size=(400, 400),
        seen=(100, 100, 150, 150),
        box=(100, 100, 50, 50),
        mask=mask,
        labels=("real", "fake"),
    )
    photo = Image.new("RGB", (400, 400), (90, 90, 90))
    photo.paste((250, 250, 250), (120, 110, 140, 130))
    object.__setattr__(found.sample, "image", photo)
    image = image_of(found)
    assert (image.view, image.box) == ((87.5, 87.5, 162.5, 162.5), (100, 100, 50, 50))
    bright = pixels_of(image.picture)[..., 0] > 170
    truth = pixels_of(image.mask)[..., 0] > 127
    assert bright.shape == truth.shape == (75, 75)
    assert (bright ^ truth).mean() < 0.02 and truth.sum() == pytest.approx(400, rel=0.1)
    assert "The model was given a crop, 1.6% of the image; the rest had no say." in image.caveats
    assert image.target == "fake"


def test_a_mask_of_another_size_than_the_image(explained):
    mask = np.zeros((20, 30), bool)
    mask[:, 15:] = True
    truth = pixels_of(image_of(explained(MAPS, size=(300, 200), mask=mask)).mask)[..., 0] > 127
    assert truth.shape == (200, 300)
    assert truth[:, 150:].all() and not truth[:, :150].any()


def test_the_five_most_probable_classes_and_those_explained(explained):
    labels = tuple(f"c{i}" for i in range(9))
    found = explained({"c0": MAPS["fake"], "c8": MAPS["real"]}, labels=labels, logits=tuple(range(9)))
    shown = image_of(found).probabilities
    assert list(shown) == ["c8", "c7", "c6", "c5", "c4", "c0"]
    assert shown["c0"] == found.probabilities["c0"]


def test_each_image_s_own_classes_and_nothing_to_compare(explained):
    labels = ("cat", "dog", "owl")
    logits = (3.0, 2.0, 1.0)
    one = image_of(explained({"cat": MAPS["fake"], "dog": MAPS["real"]}, labels=labels, logits=logits))
    other = image_of(explained({"owl": MAPS["fake"], "cat": MAPS["real"]}, labels=labels, logits=logits))
    page = page_of(one, other, labels=labels)
    assert (page.classes, page.compared) == (["cat", "dog", "owl"], None)
    swapped = image_of(explained({"dog": MAPS["fake"], "cat": MAPS["real"]}, labels=labels, logits=logits))
    assert page_of(one, swapped, labels=labels).compared == ("cat", "dog")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"label": "real"}, "The model is wrong here: the true class is real"),
        ({"logits": (0.0, 0.3)}, "The model is not sure: fake (57.4%) and real (42.6%) are close."),
        ({"maps": {**MAPS, "real": MAPS["real"] * 0}}, "No evidence for real: the map is zero everywhere."),
        ({"maps": {**MAPS, "real": -MAPS["real"]}}, "The map has two signs: orange speaks for the class"),
        ({"seen": (8, 0, 56, 64)}, "The model saw 75.0% of the image"),
        ({"seen": (-8, -8, 72, 72)}, "reaches beyond the image: patches at the edge hold padding."),
    ],
)
def test_what_a_reader_must_know_is_said(explained, changes, said):
    assert not image_of(explained(MAPS, label="fake")).caveats
    found = image_of(explained(**{"maps": MAPS} | changes))
    assert len(found.caveats) == 1
    assert said in found.caveats[0]


def test_a_map_that_removal_does_not_support_is_said(explained):
    assert not image_of(explained(MAPS), removals=[removal(1.4)]).caveats
    (said,) = image_of(explained(MAPS), removals=[removal(1.5)]).caveats
    assert said.startswith("Removing the 3 patches that gradient-weighted attention calls most relevant for")
    assert image_of(explained(MAPS), caveats=["And this."]).caveats == ["And this."]


def test_methods_are_compared_and_controls_do_not_count(explained):
    random = np.random.default_rng(0)
    maps = {name: random.normal(size=(4, 4)) for name in ("one", "two", "chance")} | {"flat": np.ones((4, 4))}
    rows = {name: explained({"fake": values}, labels=("real", "fake")) for name, values in maps.items()}
    image = compared_image(rows, controls=["chance"], removals=[removal(9, row="chance")])
    expected = spearmanr(
        np.stack([maps[name].ravel() for name in ("one", "two", "chance")]), axis=1
    ).statistic
    found = np.array(image.agreement.spearman, float)
    np.testing.assert_allclose(found[:3, :3], expected, atol=1e-6)
    assert image.agreement.rows == list(maps)
    assert np.isnan(found[3]).all()
    assert image.disagreement == pytest.approx(1 - expected[0, 1], abs=1e-6)
    assert image.caveats == [
        "The map for fake (gradient-weighted attention (flat)) is nearly constant: its patches differ by 0% "
        "of the largest value, less than 10.0%, so its colours tell no patch from another.",
        "The maps of gradient-weighted attention (one), gradient-weighted attention (two) have two signs: "
        "orange speaks for the class, blue against it.",
    ]
    assert [(one.kind, one.short) for one in image.notes] == [
        ("nearly constant", "nearly constant map"),
        ("signs", ""),
    ]
    assert image.maps["flat"]["fake"].relative_range == 0
    assert image.maps["one"]["fake"].relative_range == pytest.approx(
        np.ptp(maps["one"]) / np.abs(maps["one"]).max()
    )
    page = comparison_page(
        [image],
        labels=("real", "fake"),
        methods=[PageMethod(name=name, method=name) for name in rows],
        label="fake",
        title="x",
        asked=3,
        **FACTS,
    )
    assert (page.kind, page.classes, page.shown) == ("comparison", ["fake"], (1, 3))
    assert Page.model_validate_json(page.model_dump_json(by_alias=True)) == page


def test_one_method_alone_agrees_with_nobody(explained):
    image = compared_image({"one": explained({"fake": MAPS["fake"]}, labels=("real", "fake"))})
    assert image.agreement is None and image.disagreement is None


def test_a_map_that_is_not_finite_is_one_clear_error(explained):
    broken = MAPS["fake"].copy()
    broken[0, 0] = np.nan
    with pytest.raises(DataError, match="holds NaN or infinity and cannot be drawn"):
        image_of(explained({"real": MAPS["real"], "fake": broken}))


def test_a_page_does_not_say_where_on_this_machine_a_model_lies():
    described = {
        "name": "local:/home/me/models/detector",
        "labels": ["real"],
        "weights": "/home/me/ckpt.pth",
        "config": {"file": "C:\\models\\a.yaml", "hub": "hf:org/name", "pages": ["https://example.org/a/b"]},
        "heads": 3,
    }
    assert model_description(described) == {
        "name": "local:detector",
        "weights": "ckpt.pth",
        "config": {"file": "a.yaml", "hub": "hf:org/name", "pages": ["https://example.org/a/b"]},
        "heads": 3,
    }


def test_a_frame_of_a_video_is_named_with_its_folder(explained):
    maps = {"real": np.ones((2, 2)), "fake": np.zeros((2, 2))}
    named = {
        (path, group): image_of(explained(maps, name=path, group=group)).name
        for path, group in (("000_003/017.png", "v"), ("000_003/017.png", None), ("000_003/face.png", "v"))
    }
    assert list(named.values()) == ["000_003/017.png", "017.png", "face.png"]
