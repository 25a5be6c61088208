"""What the page paints is what the pictures show: in the right place, in the right colours."""

import numpy as np
import pytest
from browsing import pixels
from PIL import Image as Pillow
from playwright.sync_api import expect
from report_pages import PHOTOS, smooth
from viewing import show

import xai
from xai.core import Explanation, Geometry, Sample
from xai.report.explanations import explanation_page, image_of
from xai.report.overlay import DrawnImage
from xai.report.payload import PageMethod
from xai.report.pictures import comparison_scales

METHOD = "gradient_weighted_attention"
CLOSE = 4  # mean absolute difference of pixels, of 255: WebP and two ways to make a picture smaller
HOT = [(size, place) for size in [(600, 400), (300, 540)] for place in [(0, 0), (3, 10), (13, 6), (13, 13)]]
DRAWN = [(signed, box) for signed in (False, True) for box in (None, (120, 60, 250, 220))]


def page_of(*explanations):
    return explanation_page(
        [image_of(one) for one in explanations],
        labels=["real", "fake"],
        method=PageMethod(name=METHOD, method=METHOD),
        title="Pixels",
        model={},
        provenance={"version": xai.__version__},
    )


def explained(image, seen, maps, **sample):
    return Explanation(
        Sample("photo", image, **sample),
        ("real", "fake"),
        np.array([0.5, 1.5], np.float32),
        {label: values.astype(np.float32) for label, values in maps.items()},
        Geometry(image.size, seen),
        METHOD,
    )


def painted(tab, name, place):
    """Pixels of a panel of an image, once they are there."""
    show(tab, place, scrolls=True)
    panel = tab.locator(f"#image-{place} figure.panel").filter(has=tab.get_by_text(name, exact=False)).first
    canvas = panel.locator(".frame canvas")
    expect(canvas).to_be_visible()
    return pixels(canvas)[..., :3].astype(int)


@pytest.fixture(scope="module")
def plain(open_once):
    """The explanations of plain images of which the model saw the square in the middle, and their page."""
    made = []
    for size, place in HOT:
        side, (width, height) = min(size), size
        seen = ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
        hot = np.zeros((14, 14))
        hot[place] = 1
        made.append(explained(Pillow.new("RGB", size, (90, 90, 90)), seen, {"fake": hot}))
    return made, open_once(page_of(*made))


@pytest.mark.parametrize("number", range(len(HOT)), ids=lambda number: "-".join(map(str, HOT[number])))
def test_a_hot_patch_lies_where_the_model_saw_it(plain, number):
    explanations, tab = plain
    explanation, ((width, height), place) = explanations[number], HOT[number]
    hot = explanation.maps["fake"]
    assert hot[place] == hot.sum() == 1
    found = painted(tab, "fake", number)
    assert found.shape[1] / found.shape[0] == pytest.approx(width / height, rel=0.02)

    expected = explanation.geometry.project(hot, found.shape[1::-1])
    coloured = np.ptp(found, axis=-1) > 40
    assert coloured.any()
    for axis in (0, 1):
        (first, last), (from_, to) = extent(coloured, axis), extent(np.nan_to_num(expected) > 0.2, axis)
        assert abs(first - from_) <= 4 and abs(last - to) <= 4
    unseen = found[np.isnan(expected)]
    assert np.ptp(unseen, axis=-1).max() <= 2  # grey: nothing is claimed there


def extent(area, axis):
    places = np.flatnonzero(area.any(1 - axis))
    return places[0], places[-1]


@pytest.fixture(scope="module")
def photographs(open_once):
    """Explanations of a photograph, with masks, and their page."""
    with Pillow.open(PHOTOS[0]) as opened:
        image = opened.convert("RGB").resize((510, 340))
    mask = np.zeros((340, 510), bool)
    mask[100:200, 150:260] = True
    made = []
    for signed, box in DRAWN:
        maps = {"real": smooth(1, signed), "fake": smooth(2, signed)}
        made.append(explained(image, (85, 0, 425, 340), maps, mask=mask, box=box))
    return made, open_once(page_of(*made))


@pytest.mark.parametrize("number", range(len(DRAWN)), ids=lambda number: "-".join(map(str, DRAWN[number])))
def test_maps_look_like_the_pictures(photographs, number):
    """Classes, difference and overlap, outlines included: within a few levels of the PNG pictures."""
    explanations, tab = photographs
    explanation = explanations[number]
    maps = explanation.maps
    assert any((values < 0).any() for values in maps.values()) is DRAWN[number][0]
    scale, difference, overlap = comparison_scales(explanation)
    expected = {
        "real": (maps["real"], scale),
        "fake": (maps["fake"], scale),
        "difference": (explanation.difference("fake", "real") * scale.limit, difference),
        "overlap": (explanation.overlap("fake", "real") * scale.limit, overlap),
    }
    for name, (values, its_scale) in expected.items():
        found = painted(tab, f"{name}:" if name in maps else name, number)
        picture = DrawnImage(explanation, longest=max(found.shape)).overlay(values, its_scale)
        picture = np.asarray(Pillow.fromarray(picture).resize(found.shape[1::-1], Pillow.Resampling.BOX))
        assert np.abs(found - picture).mean() < CLOSE, name

    found = painted(tab, "original", number)
    picture = DrawnImage(explanation, longest=max(found.shape)).original
    picture = np.asarray(Pillow.fromarray(picture).resize(found.shape[1::-1], Pillow.Resampling.BOX))
    assert np.abs(found - picture).mean() < 2 * CLOSE
