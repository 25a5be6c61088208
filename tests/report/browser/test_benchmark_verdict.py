"""The first screen of a benchmark's page, its folds and the links that open them, on every screen."""

import pytest
from playwright.sync_api import expect
from report_pages import benchmark_page

from xai.report.worded import names_of
from xai.stats import Summary


@pytest.fixture(scope="module")
def page():
    return benchmark_page(2)


@pytest.fixture(scope="module")
def summary(page):
    return page.summary.as_dict()


@pytest.fixture(scope="module")
def names(page):
    return names_of(page.summary)


@pytest.fixture(scope="module")
def still(open_once, page):
    """As it opens, for tests that only look."""
    return open_once(page, controls=False)


def test_the_first_screen_says_what_to_use(still, names):
    """One paragraph and one figure, for somebody who opens nothing; the rest is folded."""
    tab = still
    expect(tab.get_by_role("heading", level=1)).to_have_text("Which maps can be trusted?")
    said = tab.locator(".conclusion")
    for text in (
        "For faithfulness: use integrated mask gradient or Chefer's rollout",
        "SRG 9.6 [9.2, 10.0], better than random maps, p<0.001 (Holm)",
        "For localisation: use Chefer's rollout, integrated mask gradient or LeGrad",
        "But no method is shown to be better than this control: raw attention, last layer",
        "Significantly behind the leaders in both: input × gradient",
        "208 images in 16 groups; 95 % intervals; p adjusted by Holm over 11 comparisons",
    ):
        expect(said).to_contain_text(text)
    figure = tab.locator(".dots")
    assert figure.bounding_box()["y"] + figure.locator("table").bounding_box()["height"] < 900
    assert figure.locator("tbody tr").count() == 11 and figure.locator("tbody circle").count() == 33
    expect(figure).to_contain_text("Symmetric relevance gain")
    assert tab.evaluate("document.documentElement.scrollHeight") <= 6000
    assert tab.locator("details[open]:visible").count() == 0
    assert not any("_" in text for text in said.all_inner_texts() + figure.all_inner_texts())
    for link in figure.locator("tbody a").all():
        assert names.rows[link.get_attribute("title")] == link.inner_text()


def test_the_figure_draws_the_numbers_of_the_summary(still, summary):
    part = summary["parts"][0]["analysis"]
    methods = {one["name"]: one for one in part["methods"]}
    ends = [one[key] for one in part["methods"] for key in ("low", "high")]
    margin = 0.03 * (max(ends) - min(ends))
    low, span = min(ends) - margin, max(ends) - min(ends) + 2 * margin
    rows = still.locator(".dots tbody tr")
    for row in rows.all():
        one = methods[row.locator("a").get_attribute("title")]
        cell = row.locator("td").first
        drawn = [cell.locator("circle").get_attribute("cx"), cell.locator(".interval").get_attribute("x1")]
        shares = [100 * (one[key] - low) / span for key in ("mean", "low")]
        assert [float(place.rstrip("%")) for place in drawn] == [pytest.approx(v, abs=0.01) for v in shares]
        assert cell.locator("svg").get_attribute("class") == f"dot-{one['outcome']}"


def test_names_are_told_to_the_pointer_and_to_the_keyboard(open_page, page):
    """The registry's name stands beside the pointer, under the focus, and on the card it leads to."""
    tab = open_page(page, controls=False)
    link = tab.locator(".conclusion a", has_text="Chefer's rollout").first
    expect(link).to_have_attribute("title", "chefer")
    link.focus()
    tab.keyboard.press("Shift+Tab")
    tab.keyboard.press("Tab")
    assert "chefer" in link.evaluate("(one) => getComputedStyle(one, '::after').content")
    tab.keyboard.press("Enter")
    card = tab.locator("#methods .saliency-card h3", has_text="Chefer's rollout")
    expect(card).to_be_in_viewport()
    expect(card.locator("code")).to_have_text("chefer")


def test_links_open_what_is_folded(open_page, page):
    """From the figure, by keyboard, again after it was closed, and from an address."""
    tab = open_page(page, controls=False)
    head = tab.locator(".dots thead a").nth(1)
    for _ in range(2):
        head.press("Enter")
        expect(tab.locator("#part-3 > summary")).to_be_in_viewport()
        expect(tab.locator("#part-3 .data-table").first).to_be_visible()
        tab.locator("#part-3 > summary").press("Enter")
        expect(tab.locator("#part-3 .data-table").first).to_be_hidden()
    tab.evaluate("location.hash = '#image-1'")
    expect(tab.locator("#image-1 .stage canvas").first).to_be_in_viewport()
    tab.evaluate("location.hash = '#%E0%A4%A'")  # no UTF-8
    tab.evaluate("location.hash = '#nothing-is-named-so'")
    assert tab.locator("main > details[open], .part[open], .protocol[open]").count() == 1  # the maps


def test_every_fold_opens_by_keyboard(open_page, page):
    """Its headings are there before it is opened, for those who go from heading to heading."""
    tab = open_page(page, controls=False)
    for fold in ("agreement", "answers", "cost", "maps", "methods", "how", "protocol-1"):
        found = tab.locator(f"#{fold}")
        expect(found.locator("> summary").get_by_role("heading")).to_have_count(1)
        found.locator("> summary").press("Enter")
        assert found.evaluate("(one) => one.open && one.scrollHeight > 150"), fold
    assert tab.locator("main h2:visible").count() == len({*tab.locator("main h2:visible").all_inner_texts()})


def test_wide_screens_are_used(open_page, page):
    tab = open_page(page, controls=False, width=1920, height=1080, color_scheme="dark")
    said, figure = tab.locator(".conclusion").bounding_box(), tab.locator(".dots").bounding_box()
    assert figure["x"] > said["x"] + said["width"] and abs(figure["y"] - said["y"]) < 40
    assert figure["x"] + figure["width"] > 1700
    assert figure["y"] + figure["height"] < 1080


def test_on_a_phone_the_figure_fits(open_page, page):
    tab = open_page(page, controls=False, width=390, height=844)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    cells = tab.locator(".dots tbody tr").first.locator("td")
    boxes = [cell.bounding_box() for cell in cells.all()]
    assert len({box["y"] for box in boxes}) == 1 and boxes[-1]["x"] + boxes[-1]["width"] <= 390
    assert all(cell.locator("svg").bounding_box()["width"] > 50 for cell in cells.all())
    assert tab.locator(".dots").get_by_role("rowheader").count() == 11  # still a table to those who listen


def test_few_images_are_said_to_be_few(open_page, page):
    """Two images cannot tell anything, whatever their numbers look like."""
    content = page.summary.as_dict() | {"images": 2}
    for part in content["parts"]:
        analysis = part["analysis"]
        analysis |= {"images": 2, "blocks": 2, "unit": "image"}
        for one in analysis["methods"]:
            one |= {"low": None, "high": None, "p_best": None}
            if one["p_reference"] is not None:
                one |= {"p_reference": 1.0, "blocks": 2, "unit": "image", "smallest_p": 0.5}
        for pair in analysis["pairs"]:
            pair |= {"p_holm": 1.0, "distinguishable": False}
    few = page.model_copy(update={"summary": Summary.from_dict(content), "shown": (2, 2)})
    opened = open_page(few, controls=False)
    expect(opened.locator("figcaption").first).to_contain_text(
        "Dots: means, of too few images for intervals."
    )
    said = opened.locator(".conclusion")
    expect(said).to_contain_text("too few for intervals; p adjusted")
    expect(said).to_contain_text("For faithfulness: too few images to tell any method from random maps.")
    expect(said).to_contain_text("it takes 12 images")
    expect(said).not_to_contain_text("use ")
