"""Two maps beside or over each other, and what stands around every panel."""

import numpy as np
import pytest
from playwright.sync_api import expect
from report_pages import GRID, benchmark_page, comparison_page, explanation_page, smooth
from viewing import (
    METHOD,
    ODD,
    choose,
    common,
    expect_grey,
    expect_near,
    in_words,
    map_of,
    number_of,
    overlay,
    shot,
    show,
    show_wipe,
    slide,
    wipe,
)

from xai.report.colours import ColourScale
from xai.report.encode import encode_grid


def test_wiping_between_two_classes(explained):
    page, tab = explained
    real, fake = map_of(page, "real"), map_of(page, "fake")
    image, scale = page.images[ODD], common(real, fake)
    show_wipe(tab)
    choose(tab, "Class", "real")  # the image on the left, the map on the right
    photo = wipe(tab, 100)
    expect_near(wipe(tab, 0), overlay(photo, image, real, scale))
    choose(tab, "Class", "every class")
    left, right = wipe(tab, 100), wipe(tab, 0)
    expect_near(left, overlay(photo, image, fake, scale))
    expect_near(right, overlay(photo, image, real, scale))
    half, middle = wipe(tab, 50), round(left.shape[1] / 2)
    assert (half[:, :middle] == left[:, :middle]).all()
    assert (half[:, middle:] == right[:, middle:]).all()
    caption = tab.locator(f"#image-{ODD} figcaption")
    expect(caption).to_contain_text("left: fake")
    expect(caption).to_contain_text("right: real")


def test_wiping_where_images_have_classes_of_their_own(open_page):
    """Each image's two most probable classes, which are no other image's."""
    page = explanation_page(2)
    images = []
    for place, image in enumerate(page.images):
        maps = {
            row: {f"{label} {place}": grid for label, grid in by_class.items()}
            for row, by_class in image.maps.items()
        }
        images.append(image.model_copy(update={"maps": maps, "products": {}}))
    classes = [label for image in images for label in image.maps[METHOD]]
    changes = {"images": images, "classes": classes, "labels": classes, "compared": None, "fusion": None}
    tab = open_page(page.model_copy(update=changes))
    show_wipe(tab)
    for place in range(2):
        show(tab, place)
        caption = tab.locator(f"#image-{place} figcaption")
        expect(caption).to_contain_text(f"left: real {place}")
        expect(caption).to_contain_text(f"right: fake {place}")
        assert not (wipe(tab, 100, place) == wipe(tab, 0, place)).all()


@pytest.fixture(scope="module")
def compared(open_once):
    """A page of three methods, for tests that press "Reset" after what they chose."""
    page = comparison_page(2)
    return page, open_once(page)


def test_wiping_between_two_methods_by_hand(compared):
    page, tab = compared
    show_wipe(tab)
    left, right = wipe(tab, 100), wipe(tab, 0)
    choose(tab, "Method A", in_words(page, "legrad"))
    choose(tab, "Method B", in_words(page, "chefer"))
    assert (wipe(tab, 0) == left).all()
    choose(tab, "Method B", in_words(page, "saliency"))
    assert not (wipe(tab, 0) == left).all()
    assert not (left == right).all()

    canvas = tab.locator(f"#image-{ODD} .frame canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    tab.mouse.move(box["x"] + 10, box["y"] + 60)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 60, steps=4)
    tab.mouse.up()
    slider = tab.locator(f"#image-{ODD}").get_by_role("slider", name="Wipe")
    assert float(slider.input_value()) == pytest.approx(75, abs=1)
    slider.press("ArrowLeft")
    assert float(slider.input_value()) == pytest.approx(74, abs=1)
    tab.locator("#reset").click()


def test_methods_have_scales_of_their_own(compared):
    page, tab = compared
    photo, image = shot(tab, 0), page.images[ODD]
    for panel, row in enumerate(("chefer", "legrad", "saliency"), 1):
        values = map_of(page, "fake", row)
        expect_near(shot(tab, panel), overlay(photo, image, values, ColourScale.of([values])))


def test_choosing_the_methods_of_a_benchmark(open_page):
    page = benchmark_page(2)
    tab = open_page(page, hash="#maps")
    controls = tab.get_by_label("Method A", exact=True).locator("optgroup[label=Controls] option")
    assert controls.all_inner_texts() == [in_words(page, row.name) for row in page.rows if row.control]
    image = page.images[ODD]
    for label, panel, row in (("Method A", 1, page.rows[3].name), ("Method B", 2, page.rows[-1].name)):
        choose(tab, label, in_words(page, row))
        values = map_of(page, "fake", row)
        expect_near(shot(tab, panel), overlay(shot(tab, 0), image, values, ColourScale.of([values])))
        title = tab.locator(f"#image-{ODD} .panel").nth(panel).locator("strong")
        expect(title).to_have_text(in_words(page, row))
        expect(title).to_have_attribute("title", row)


def test_colour_bars_say_the_limits(explained):
    page, tab = explained
    limit = common(map_of(page, "real"), map_of(page, "fake")).limit
    tab.locator(f"#image-{ODD}").scroll_into_view_if_needed()
    panels = tab.locator(f"#image-{ODD} .panel")
    for panel, expected in ((1, (0, limit / 2, limit)), (3, (-limit, 0, limit))):
        ticks = panels.nth(panel).locator(".ticks span")
        found = [number_of(text) for text in ticks.all_inner_texts()]
        assert found == pytest.approx(expected, rel=5e-3)


def test_colour_bars_say_whose_they_are(explained):
    _, tab = explained
    ends = tab.locator(f"#image-{ODD} .panel .ends").evaluate_all(
        "(all) => all.map((one) => [...one.children].map((end) => end.textContent))"
    )
    assert ends[-4:] == [
        ["", "for fake"],
        ["", "for real"],
        ["more for real", "more for fake"],
        ["", "for both"],
    ]


def test_a_nearly_constant_map_is_said_to_be_one(open_page):
    page = explanation_page(1)
    even = np.full((GRID, GRID), 2.0)
    even[3, 4] = 1.9
    maps = {METHOD: {"fake": encode_grid(even), "real": encode_grid(smooth(1))}}
    image = page.images[0].model_copy(update={"maps": maps, "products": {}})
    tab = open_page(page.model_copy(update={"images": [image], "fusion": None}))
    captions = tab.locator("#image-0 .panel figcaption")
    expect(captions.nth(1)).to_contain_text("nearly constant: patches differ by 5.0% of the largest value")
    for place in (2, 3, 4):
        expect(captions.nth(place)).not_to_contain_text("nearly constant")


def test_a_map_of_zeros_says_so(open_page):
    page = explanation_page(1)
    zero = encode_grid(np.zeros((GRID, GRID)))
    image = page.images[0].model_copy(
        update={"maps": {METHOD: {"real": zero, "fake": zero}}, "mask": None, "products": {}}
    )
    page = page.model_copy(update={"images": [image], "fusion": None})
    tab = open_page(page)
    panels = tab.locator("#image-0 .panel")
    expect(panels.nth(1)).to_contain_text("no evidence: the map is zero")
    expect(panels.nth(3)).to_contain_text("no difference: the map is zero")
    expect_grey(tab, page, (1, 2, 3, 4), place=0)
    expect(panels.nth(1).locator(".scale")).to_be_hidden()


def test_images_without_picture_or_map(open_page):
    page = comparison_page(1)
    image = page.images[0]
    maps = {row: by_class for row, by_class in image.maps.items() if row != "legrad"}
    image = image.model_copy(update={"picture": None, "maps": maps, "mask": None})
    tab = open_page(page.model_copy(update={"images": [image]}))
    panels = tab.locator("#image-0 .panel")
    expect(panels.nth(0)).to_contain_text("the page holds no picture of it")
    expect(panels.nth(2)).to_contain_text("no map of this class")
    assert np.ptp(shot(tab, 2, place=0), axis=-1).max() == 0


def test_reset(explained):
    _, tab = explained
    before = [shot(tab, panel) for panel in range(5)]
    slide(tab, "Opacity", 20)
    choose(tab, "Colours", "viridis")
    assert not (shot(tab, 2) == before[2]).all()
    tab.get_by_role("button", name="Reset").click()
    assert all((shot(tab, panel) == before[panel]).all() for panel in range(5))
    expect(tab.get_by_role("slider", name="Opacity")).to_have_value("80")
