"""The list of images: its order, its filter, and that only what is in view is painted."""

import re
from collections import Counter
from importlib.resources import files

import numpy as np
import pytest
from browsing import pixels
from playwright.sync_api import expect
from report_pages import benchmark_page, explanation_page
from viewing import (
    METHOD,
    choose,
    in_words,
    settle,
    show,
    slide,
)

from xai.report.page import SCRIPTS


def listed(tab):
    return [
        int(place)
        for place in tab.locator(".thumb:visible").evaluate_all(
            "(all) => all.map((one) => one.dataset.place)"
        )
    ]


def test_the_order_of_the_images(open_page):
    page = benchmark_page(7)
    names = ["b10", "b9", "c", "a", "d", "f", "e"]
    images = [image.model_copy(update={"name": name}) for image, name in zip(page.images, names, strict=True)]
    images[4] = images[4].model_copy(update={"disagreement": None})
    page = page.model_copy(update={"images": images})
    tab = open_page(page, hash="#maps")
    assert listed(tab) == list(range(7))

    choose(tab, "Order", "most disagreement first")
    known = sorted((i for i in range(7) if i != 4), key=lambda i: -(images[i].disagreement or 0))
    assert listed(tab) == [*known, 4]
    tab.get_by_label("Reversed").check()
    assert listed(tab) == [*known[::-1], 4]  # the unknown stays last
    tab.get_by_label("Reversed").uncheck()

    choose(tab, "Order", "by name")
    assert listed(tab) == [3, 1, 0, 2, 4, 6, 5]
    choose(tab, "Order", "by probability of the prediction")
    assert listed(tab) == sorted(range(7), key=lambda i: -images[i].probabilities[images[i].predicted])

    choose(tab, "Order", "by score of method A")
    for part, row in ((page.parts[0], page.rows[0].name), (page.parts[-1], page.rows[4].name)):
        tab.get_by_label("Score of method A in", exact=True).select_option(index=page.parts.index(part))
        choose(tab, "Method A", in_words(page, row))
        expected = sorted(range(7), key=lambda i: images[i].scores[part.key][row] or 0)
        expect(tab.locator("#list-status")).to_have_text("7 of 7 images")
        assert listed(tab) == expected


def test_names_are_filtered(open_page):
    tab = open_page(explanation_page(12))
    tab.get_by_label("Name contains").fill("PHOTO_1")
    expect(tab.locator("#list-status")).to_have_text("3 of 12 images")
    assert listed(tab) == [1, 10, 11]
    expect(tab.locator("#image-1")).to_be_visible()  # the first that is left
    show(tab, 11)
    expect(tab.locator("#image-11 .frame canvas").first).to_be_attached()
    tab.get_by_label("Name contains").fill("")
    assert listed(tab) == list(range(12))


PAINTED = "(all) => all.filter((one) => one.querySelector('.frame canvas')).map((one) => one.id)"


def test_only_what_is_in_view_is_painted_and_kept(open_page):
    tab = open_page(explanation_page(84))
    tab.get_by_label("All below one another").check()
    articles = tab.locator("article.image")
    expect(tab.locator("#image-0 .frame canvas")).to_have_count(5)
    assert len(articles.evaluate_all(PAINTED)) < 12
    tab.locator("#image-78").scroll_into_view_if_needed()
    expect(tab.locator("#image-78 .frame canvas")).to_have_count(5)
    assert len(articles.evaluate_all(PAINTED)) < 24
    for place in range(0, 72, 3):
        tab.locator(f"#image-{place}").scroll_into_view_if_needed()
        settle(tab)
    tab.locator("#image-70").scroll_into_view_if_needed()
    expect(tab.locator("#image-70 .frame canvas")).to_have_count(5)
    assert len(articles.evaluate_all(PAINTED)) <= 60  # of more than 72 that were
    tab.locator("#image-0").scroll_into_view_if_needed()
    expect(tab.locator("#image-0 .frame canvas")).to_have_count(5)  # decoded anew


def test_one_image_is_large_and_the_keys_go_on(open_page):
    page = explanation_page(4)
    tab = open_page(page, controls=False)
    large = tab.locator("article.image:visible")
    expect(large).to_have_attribute("id", "image-0")
    expect(tab.locator("#image-previous")).to_be_disabled()
    tab.keyboard.press("ArrowRight")
    expect(large).to_have_attribute("id", "image-1")
    expect(tab.locator(".thumb[aria-current]")).to_have_attribute("data-place", "1")
    expect(tab.locator("#image-place")).to_have_text("2 of 4")
    tab.locator("#image-next").click()
    tab.locator(".thumb").nth(3).click()
    expect(large).to_have_attribute("id", "image-3")
    expect(large.locator(".frame canvas")).to_have_count(5)
    expect(tab.locator("#image-next")).to_be_disabled()
    tab.keyboard.press("ArrowRight")  # there is none
    tab.keyboard.press("ArrowLeft")
    expect(large).to_have_attribute("id", "image-2")
    tab.locator("#image-2 .frame canvas").nth(1).press("ArrowLeft")  # reads a patch, and stays
    expect(tab.locator("#image-2 .readout")).to_contain_text("patch row")
    choose(tab, "Order", "by probability of fake")
    ranked = sorted(range(4), key=lambda place: -page.images[place].probabilities["fake"])
    assert listed(tab) == ranked
    tab.locator(".thumb").first.focus()
    at = ranked.index(2)
    tab.keyboard.press("ArrowRight" if at < 3 else "ArrowLeft")
    expect(large).to_have_attribute("id", f"image-{ranked[at + 1 if at < 3 else at - 1]}")
    tab.get_by_label("All below one another").check()
    expect(large).to_have_count(4)
    expect(tab.locator("#steps")).to_be_hidden()


def test_images_are_filtered_by_what_they_were_judged(open_page):
    page = explanation_page(5)
    images = list(page.images)
    images[3] = images[3].model_copy(update={"caveats": ["A sentence."], "steadiness": 0.4})
    images[1] = images[1].model_copy(update={"steadiness": 0.1, "caveats": []})
    page = page.model_copy(update={"images": images})
    tab = open_page(page)
    for label in ("fake", "real"):
        found = [place for place, image in enumerate(images) if image.predicted == label]
        choose(tab, "Judged", f"{label} ({len(found)})")
        assert listed(tab) == found
        expect(tab.locator("article.image:visible")).to_have_attribute("id", f"image-{found[0]}")
    wrong = [place for place, image in enumerate(images) if image.predicted != "fake"]
    choose(tab, "Judged", f"wrong ({len(wrong)})")  # all are fakes
    assert listed(tab) == wrong
    noted = [place for place, image in enumerate(images) if image.caveats]
    choose(tab, "Judged", f"with notes ({len(noted)})")
    assert listed(tab) == noted
    expect(tab.locator("#list-status")).to_have_text(f"{len(noted)} of 5 images")
    choose(tab, "Judged", "anything")
    choose(tab, "Order", "least stable first")
    assert listed(tab) == [1, 3, 0, 2, 4]


def test_caveats_are_said_once_and_marked(open_page):
    page = explanation_page(3)
    images = [
        one.model_copy(update={"caveats": ["A sentence."] if place else []})
        for place, one in enumerate(page.images)
    ]
    tab = open_page(page.model_copy(update={"images": images}))
    expect(tab.locator("#images").get_by_text("A sentence.", exact=False)).to_have_count(1)
    expect(tab.locator("#image-0 .marks")).to_have_count(0)
    show(tab, 2)
    mark = tab.locator("#image-2 .marks a")
    expect(mark).to_have_attribute("title", "A sentence.")
    mark.click()
    expect(tab.locator("#note-1")).to_be_in_viewport()
    expect(tab.locator("#note-1")).to_have_text("A sentence. (2 images)")


def test_tiles_show_the_map_of_what_an_image_was_judged(open_page):
    page = explanation_page(4)
    tab = open_page(page)
    tile = tab.locator(".thumb").nth(3)
    expect(tile).to_contain_text("photo_3.jpg")
    expect(tile).to_contain_text(page.images[3].predicted)
    canvas = tile.locator("canvas")
    expect(canvas).to_have_attribute("data-turn", "0")
    before = pixels(canvas)
    assert np.ptp(before[..., :3].astype(int), axis=-1).max() > 60  # there are colours
    slide(tab, "Opacity", 0)
    expect(canvas).not_to_have_attribute("data-turn", "0")
    settle(tab)
    assert np.ptp(pixels(canvas)[..., :3].astype(int), axis=-1).max() < 10


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
@pytest.mark.parametrize("images", [1, 16])
def test_a_map_is_on_the_first_screen(open_page, width, height, images):
    tab = open_page(explanation_page(images), width=width, height=height, controls=False)
    map_ = tab.locator(".thumb canvas" if images > 1 and width < 600 else "#image-0 .frame canvas").nth(1)
    expect(map_).to_be_in_viewport(ratio=0.3)


def test_links_lead_to_images(open_page):
    tab = open_page(explanation_page(16), hash="#image-14")
    expect(tab.locator("#image-14 h3")).to_be_in_viewport()
    expect(tab.locator("#image-14 .frame canvas")).to_have_count(5)


def test_controls_are_folded_at_first(open_page):
    tab = open_page(explanation_page(1), width=360, height=740, controls=False)
    expect(tab.get_by_role("slider", name="Opacity")).to_be_hidden()
    expect(tab.locator("#look-words")).to_have_text("every class · opacity 80%")
    tab.locator("#controls summary").click()
    slide(tab, "Opacity", 30)
    expect(tab.locator("#look-words")).to_have_text("every class · opacity 30%")


def test_classes_named_like_the_languages_own_words(open_page):
    page = explanation_page(1)
    image = page.images[0]
    names = {"real": "constructor", "fake": "__proto__"}
    image = image.model_copy(
        update={
            "maps": {METHOD: {names[label]: grid for label, grid in image.maps[METHOD].items()}},
            "probabilities": {names[label]: value for label, value in image.probabilities.items()},
            "predicted": "constructor",
            "label": "__proto__",
            "products": {},
        }
    )
    changes = {"images": [image], "classes": list(names.values()), "labels": list(names.values())}
    tab = open_page(
        page.model_copy(update={**changes, "compared": ("__proto__", "constructor"), "fusion": None})
    )
    titles = tab.locator("#image-0 .panel strong").all_inner_texts()
    assert [title.split(":")[0] for title in titles] == [
        "original",
        "__proto__",
        "constructor",
        "difference",
        "overlap",
    ]


def test_no_name_is_declared_in_two_scripts():
    """All scripts share one scope."""
    folder = files("xai.report") / "web"
    declared = Counter(
        name
        for script in SCRIPTS
        for name in re.findall(
            r"^(?:async )?(?:const|let|function) (\w+)", (folder / f"{script}.js").read_text("utf-8"), re.M
        )
    )
    assert [name for name, times in declared.items() if times > 1] == []
