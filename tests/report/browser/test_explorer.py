"""Along the curve: the image as the model saw it, patch by patch."""

import re
from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image as Pillow
from playwright.sync_api import expect
from report_pages import benchmark_page, comparison_page
from sheets import (
    FILL,
    MEAN,
    anew,
    changed,
    data,
    order,
    painted,
    part_of,
    pixels,
    shown,
    slide,
)


def test_no_explorer_without_curves(open_page):
    tab = open_page(comparison_page(), hash="#sheet-0")
    shown(tab, 0)
    expect(tab.locator(".explorer")).to_have_count(0)


NO_ORDERS, CROPPED = 2, 3  # places of images that are unlike the others
HIDDEN = "deletion|token-6"


@pytest.fixture(scope="module")
def page():
    made = changed(benchmark_page(), NO_ORDERS, orders={})
    return changed(made, CROPPED, seen=(0, 96, 192, 192))


@pytest.fixture(scope="module")
def opened(open_once, page):
    return open_once(page)


@pytest.fixture
def tab(opened):
    """With the sheet of the first image; what is chosen stays, so each test chooses."""
    anew(opened, 0)
    return opened


def choose(tab, curve, method="chefer", other="random_0"):
    explorer = tab.locator(".explorer")
    explorer.get_by_label("Curve", exact=True).select_option(curve)
    explorer.get_by_label("Method", exact=True).select_option(method)
    explorer.get_by_label("Compared with").select_option(other)
    return explorer


def test_no_explorer_without_orders(tab):
    anew(tab, NO_ORDERS)
    expect(tab.locator(".explorer")).to_have_count(0)


def test_begins_with_the_first_curve_beside_a_random_order(open_page, page):
    explorer = open_page(page, hash="#sheet-0").locator(".explorer")
    expect(explorer.get_by_label("Curve", exact=True)).to_have_value(HIDDEN)
    expect(explorer.get_by_label("Compared with")).to_have_value("random_0")
    explorer.get_by_label("Curve", exact=True).select_option(MEAN)
    expect(explorer.get_by_label("Compared with")).to_have_value("random_0")


def test_deletion_is_drawn_as_the_model_saw_it(tab, page):
    image, part = page.images[0], part_of(page, MEAN)
    explorer = choose(tab, MEAN)
    for step, fraction in enumerate(part.fractions):
        slide(tab, step)
        count = round(fraction * 196)
        for i, row in enumerate(("chefer", "random_0")):
            canvas = explorer.locator("canvas").nth(i)
            assert painted(canvas, image, FILL) == set(order(image, row)[:count])
        values = [image.curves[MEAN][row][step] for row in ("chefer", "random_0")]
        assert data(explorer.locator(".explorer-said")) == values
        expect(explorer.locator(".explorer-said")).to_contain_text(f"{count} of 196 patches removed")
    expect(explorer.locator(".explorer-note")).to_contain_text(
        "Drawn exactly: removed patches are painted in"
    )


def test_states_show_what_the_model_saw(tab, page):
    """A crop fills the model's square input, stretched where it is no square."""
    anew(tab, CROPPED)
    image = page.images[CROPPED]
    choose(tab, HIDDEN)
    slide(tab, 0)
    assert image.picture is not None
    with Pillow.open(BytesIO(b64decode(image.picture.split(",")[1]))) as picture:
        scale = picture.width / image.width
        box = (0, round(96 * scale), round(192 * scale), round(192 * scale))
        expected = np.asarray(picture.convert("RGB").crop(box).resize((14, 14), Pillow.Resampling.BOX), float)
    drawn = Pillow.fromarray(pixels(tab.locator(".explorer canvas").first))
    found = np.asarray(drawn.resize((14, 14), Pillow.Resampling.BOX), float)
    assert np.abs(found - expected).mean() < 4


def test_insertion_begins_with_nothing(tab, page):
    image, key = page.images[0], "insertion|mean-3"
    explorer = choose(tab, key, other="")
    expect(explorer.locator("canvas")).to_have_count(1)
    row = explorer.get_by_label("Method", exact=True).input_value()
    for step, fraction in enumerate(part_of(page, key).fractions):
        slide(tab, step)
        kept = set(order(image, row)[: round(fraction * 196)])
        assert painted(explorer.locator("canvas"), image, FILL) == set(range(196)) - kept


def test_srg_shows_both_of_its_curves(tab, page):
    image, key = page.images[0], "srg|mean-3"
    explorer = choose(tab, key, other="")
    slide(tab, 1)
    row = explorer.get_by_label("Method", exact=True).input_value()
    ranked, count = order(image, row), round(part_of(page, key).fractions[1] * 196)
    most, least = explorer.locator("canvas").nth(0), explorer.locator("canvas").nth(1)
    assert painted(most, image, FILL) == set(ranked[:count])
    assert painted(least, image, FILL) == set(ranked[-count:])
    expect(explorer.locator(".explorer-note")).to_contain_text("least relevant patches removed minus")


def test_hidden_tokens_are_hatched_and_others_say_approximate(open_page):
    page = benchmark_page()
    parts = [
        part.model_copy(update={"operator": "blur", "exact": False, "redrawn": "blurred by the page"})
        if part.key == MEAN
        else part
        for part in page.parts
    ]
    tab = open_page(page.model_copy(update={"parts": parts}), hash="#sheet-0")
    explorer = tab.locator(".explorer")
    explorer.get_by_label("Curve", exact=True).select_option("deletion|token-6")
    slide(tab, 6)
    hatched = pixels(explorer.locator("canvas").first)
    assert len(np.unique(hatched.reshape(-1, 3), axis=0)) < 300, "nothing of the photograph is left"
    expect(explorer.locator(".explorer-note")).to_contain_text("hidden from the model's attention")
    explorer.get_by_label("Curve", exact=True).select_option(MEAN)
    expect(explorer.locator(".explorer-note")).to_contain_text("Approximate: blurred by the page")
    assert not painted(explorer.locator("canvas").first, page.images[0], FILL)


def test_the_curve_is_dragged_along(tab, page):
    image, key = page.images[0], HIDDEN
    choose(tab, key)
    slide(tab, 0)
    chart, said = tab.locator(".explorer-chart"), tab.locator(".explorer-said")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    before = pixels(tab.locator(".explorer canvas").first)
    tab.mouse.move(box["x"] + box["width"] * 0.3, middle)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] - 8, middle, steps=5)
    tab.mouse.up()
    row = tab.locator(".explorer").get_by_label("Method", exact=True).input_value()
    assert data(said)[0] == image.curves[key][row][-1]
    expect(tab.get_by_label("Step along the curve")).to_have_value("6")
    assert (pixels(tab.locator(".explorer canvas").first) != before).any()
    tab.mouse.move(box["x"] + 60, middle)
    expect(tab.get_by_label("Step along the curve")).to_have_value("6")


def test_the_slider_moves_by_keys_and_turns_no_page(tab):
    anew(tab, 1)
    choose(tab, HIDDEN)
    slider = tab.get_by_label("Step along the curve")
    slide(tab, 2)
    slider.focus()
    slider.press("ArrowRight")
    expect(slider).to_have_value("3")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("98 of 196 patches removed"))
    shown(tab, 1)


def test_the_choice_is_kept_for_the_next_image(tab):
    choose(tab, HIDDEN)
    tab.locator(".explorer").get_by_label("Method", exact=True).select_option("legrad")
    tab.locator("#sheet-next").click()
    shown(tab, 1)
    expect(tab.locator(".explorer").get_by_label("Method", exact=True)).to_have_value("legrad")
