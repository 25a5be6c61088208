"""Evidence by parts of the face on the evidence sheet: the numbers are the payload's."""

import pytest
from browsing import axe, described
from PIL import Image
from playwright.sync_api import expect
from report_pages import PHOTOS, explanation_page
from sheets import changed, data, section, shown

from xai.data.face_parts import PARTS
from xai.report.encode import encode_picture
from xai.report.image_payload import FaceEvidence, FacePart, PartRelevance, PartRemovals

TITLE = "Evidence by parts of the face"


def face_part(place: int) -> FacePart:
    share, last = (place + 1) / 45, place == len(PARTS) - 1
    return FacePart(
        part=PARTS[place],
        area=1 / 9,
        area_interval=(0.1, 0.12),
        relevance={
            "real": PartRelevance(positive=share, positive_interval=(share - 0.01, share + 0.01)),
            "fake": PartRelevance(negative=share, negative_interval=(share - 0.01, share + 0.02)),
        },
        cells=0 if place == 1 else 10 + place,
        without=None if place == 1 else 3.0 - place / 8,
        random=[] if place == 1 or last else [2.5, 3.25],
        p=None if place == 1 or last else 1 / 3,
    )


def page_with_face(**changes):
    page = explanation_page(images=2)
    evidence = FaceEvidence(
        points=5,
        draws=100,
        grid=(14, 14),
        parts=[face_part(place) for place in range(len(PARTS))],
        removals=PartRemovals(target="fake", value="margin", operator="token", clean=3.0, states=40),
        picture=encode_picture(Image.open(PHOTOS[0]), 64),
    )
    return changed(page, face_parts=evidence.model_copy(update=changes))


def test_tables_hold_the_shares_and_the_changes(open_page):
    page = page_with_face()
    tab = open_page(page, hash="#sheet-0")
    tables = section(tab, TITLE).locator("table")
    assert tables.count() == 3
    expect(tables.nth(0)).to_contain_text("Relevance for fake")  # fake before real
    parts = page.images[0].face_parts.parts
    for number, part in enumerate(parts):
        against, for_it, change = (data(tables.nth(i).locator("tbody tr").nth(number)) for i in range(3))
        assert against == pytest.approx([part.area, part.relevance["fake"].negative])
        share = part.relevance["real"].positive
        assert for_it == pytest.approx([part.area, share, share / part.area])
        expected = [] if part.without is None else [part.without, part.without - 3.0]
        assert change == pytest.approx([*expected, *([] if part.p is None else [part.p])])
    words = section(tab, TITLE).inner_text()
    for text in (
        "none: too large a part",
        "none: no cell is the part's",
        "hidden from the model's attention",
    ):
        assert text in words
    assert section(tab, TITLE).locator("img").evaluate("one => one.naturalWidth") == 64
    assert described(axe(tab, "#sheet-content .face-parts")) == ""
    tab.keyboard.press("ArrowRight")
    shown(tab, 1)
    expect(section(tab, TITLE)).to_have_count(0)


def test_without_removal_or_on_a_narrow_screen(open_page):
    tab = open_page(page_with_face(removals=None, picture=None), hash="#sheet-0")
    tab.set_viewport_size({"width": 390, "height": 800})
    found = section(tab, TITLE)
    assert found.locator("table").count() == 2
    assert found.locator("img").count() == 0
    assert found.evaluate("one => one.scrollWidth <= one.clientWidth + 1")
