"""The evidence sheet and its curve explorer: numbers equal the payload's, pictures what the model saw."""

import re
from itertools import pairwise

import numpy as np
import pytest
from browsing import axe, described
from playwright.sync_api import expect
from report_pages import benchmark_page, comparison_page, explanation_page
from sheets import (
    HOSTILE,
    anew,
    changed,
    data,
    opened,
    pixels,
    section,
    shown,
)
from viewing import in_words

from xai.report.image_payload import Photograph

# texts that are read or heard, but those set as code, facts of the record, and names of the files
SAID = """(root) => {
  const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT, (node) =>
    node.parentElement.closest("code, .facts, h2, .sheet-kicker") ? NodeFilter.FILTER_REJECT
      : NodeFilter.FILTER_ACCEPT);
  const found = [...root.querySelectorAll("[aria-label]")].map((one) => one.getAttribute("aria-label"));
  while (texts.nextNode()) found.push(texts.currentNode.data);
  return found.filter((text) => !/forgery_\\d/.test(text));
}"""


PLACES = {"facts": 1, "photograph": 2, "removed": 4}  # in the page of various images
# how removing the top patches changes an answer of 2.5, how random ones do, what is said, and the verdict
REMOVED = [
    (-0.75, [2.25, 2.0, 2.4], "leaves it at 2 … 2.4 (3 draws). The top patches matter more", "more than"),
    (2.3, [2.25, 2.0, 2.4], "Removing the top patches does no more than removing random ones", "no more"),
    (2.1, [2.25, 2.0, 2.4], "on average, but not more than every draw", "unclear"),
    (2.5, [2.5], "leaves the margin for fake at 2.5; removing 39 random ones", "no more"),
    (2.5, [2.5], "2.5 (1 draw). Removing the top patches does not lower the value", "no more"),
    (1.0, [], "no random patches were removed to compare", "unclear"),
    (3.5, [4.0, 5.0], "from 2.5 to 3.5", "no more"),
]  # fmt: skip


@pytest.fixture(scope="module")
def plain():
    return explanation_page()


@pytest.fixture(scope="module")
def measured():
    """A benchmark's page; on its third image one method's top patches matter no more than random ones."""
    page = benchmark_page()
    removals = list(page.images[2].removals)
    removals[1] = removals[1].model_copy(update={"top": 2.4})
    return changed(page, 2, removals=removals)


@pytest.fixture(scope="module")
def measured_tab(open_once, measured):
    """For tests that open the sheet that they look at."""
    return open_once(measured)


@pytest.fixture(scope="module")
def various():
    """Images that sheets have different things to say of, see `PLACES`; the rest are those of `REMOVED`."""
    page = explanation_page(PLACES["removed"] + len(REMOVED))
    page = changed(page, PLACES["facts"], box=(10, 20, 200.5, 220), seen=(10, 20, 210.5, 240), label=None)
    photograph = Photograph(width=2400, height=1600, number=3, picture=page.images[0].picture)
    page = changed(page, PLACES["photograph"], photograph=photograph)
    for place, (top, random, *_) in enumerate(REMOVED, PLACES["removed"]):
        (removal,) = page.images[place].removals
        removal = removal.model_copy(update={"top": top, "random": random, "clean": 2.5})
        page = changed(page, place, removals=[removal])
    return page


@pytest.fixture(scope="module")
def various_tab(open_once, various):
    """For tests that open the sheet that they look at."""
    return open_once(various)


def test_opens_from_its_button_and_gives_the_focus_back(open_page, plain):
    tab = open_page(plain)
    opened(tab, 1)
    expect(tab.locator("#sheet-title")).to_have_text("photo_1.jpg")
    assert tab.evaluate("location.hash") == "#sheet-1"
    assert tab.evaluate("document.getElementById('sheet').matches(':modal')")
    for _ in range(12):
        tab.keyboard.press("Tab")
        assert tab.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('#sheet')"
        )
    tab.keyboard.press("Escape")
    expect(tab.locator("#sheet")).to_be_hidden()
    expect(tab.locator("#image-1 .open-sheet")).to_be_focused()
    expect(tab).to_have_url(re.compile(r"^[^#]*#?$"))  # changed after the sheet is gone; asked without eval


def test_opens_from_the_address(open_page, plain):
    tab = open_page(plain, hash="#sheet-2")
    shown(tab, 2)
    tab.get_by_role("button", name="Close the evidence sheet").click()
    expect(tab.locator("#image-2 .open-sheet")).to_be_focused()
    tab.evaluate("location.hash = '#sheet-0'")
    shown(tab, 0)


@pytest.mark.parametrize("hash", ["#sheet-9", "#sheet-", "#sheet-1x", "#image-1"])
def test_an_address_of_no_sheet_opens_none(open_page, plain, hash):
    tab = open_page(plain, hash=hash)
    expect(tab.locator("#sheet")).to_be_hidden()


def test_goes_from_image_to_image(open_page, plain):
    tab = open_page(plain, hash="#sheet-0")
    shown(tab, 0)
    expect(tab.locator("#sheet-previous")).to_be_disabled()
    tab.keyboard.press("ArrowRight")
    shown(tab, 1)
    expect(tab.locator("#sheet-place")).to_have_text("2 of 3: photo_1.jpg")
    tab.locator("#sheet-next").click()
    shown(tab, 2)
    expect(tab.locator("#sheet-next")).to_be_disabled()
    tab.keyboard.press("ArrowLeft")
    shown(tab, 1)
    tab.locator("#sheet-previous").click()
    shown(tab, 0)
    tab.mouse.click(3, 3)  # beside the sheet
    expect(tab.locator("#sheet")).to_be_hidden()


def test_names_are_in_words_and_those_of_configurations_beside_them(measured_tab, measured):
    """Under the pointer and the focus, and where the sheet says how a map was made: each name leads there."""
    page, tab = measured, measured_tab
    anew(tab, 0)
    texts = tab.locator("#sheet-content").evaluate(SAID)
    assert [text for text in texts if "_" in text] == []
    names = section(tab, "Do the methods agree on this image?").locator("tbody a.row-name")
    words = {row.name: in_words(page, row.name) for row in page.rows}
    for link in names.all():
        assert words[link.get_attribute("title")] == link.inner_text()
    link = names.first
    name = link.get_attribute("title")
    link.focus()
    tab.keyboard.press("Shift+Tab")
    tab.keyboard.press("Tab")
    assert name in link.evaluate("(one) => getComputedStyle(one, '::after').content")
    link.press("Enter")
    made = tab.locator(f"#made-{[row.name for row in page.rows].index(name)}")
    expect(made).to_be_focused()
    expect(made).to_be_in_viewport()
    expect(made.locator("code")).to_have_text(name)
    assert tab.evaluate("location.hash") == "#sheet-0"
    for label in ("Curve", "Method", "Compared with"):
        chosen = tab.locator(".explorer").get_by_label(label, exact=True)
        assert "_" not in chosen.inner_text()
        assert chosen.get_attribute("title")


def test_says_what_an_image_is(various_tab, various):
    tab, image = various_tab, various.images[PLACES["facts"]]
    anew(tab, PLACES["facts"])
    facts = tab.locator("#sheet-content .facts").first
    for text in (image.sha256, image.input_hash, "3f" * 32, "384 × 384 px", "200.5 × 220 px from (10, 20)"):
        expect(facts).to_contain_text(text)
    answers = tab.locator("#sheet-content .answers")
    assert sorted(data(answers)) == sorted(image.probabilities.values())
    expect(answers).to_contain_text("the true class is not known")
    expect(tab.locator("#sheet-content")).to_contain_text("they do not prove that a region was tampered with")


def test_shows_the_photograph_that_a_face_was_cut_from(various_tab, various):
    tab, place = various_tab, PLACES["photograph"]
    photograph = various.images[place].photograph
    anew(tab, place)
    figure = tab.locator("#sheet-content .photograph")
    expect(figure).to_contain_text("a photograph of 2400 × 1600 px: face 3.")
    expect(figure.locator("img")).to_have_attribute("src", photograph.picture)
    assert figure.locator("img").evaluate("img => img.decode().then(() => img.naturalWidth)") > 100
    assert described(axe(tab, "#sheet-content .photograph")) == ""
    tab.keyboard.press("ArrowRight")
    shown(tab, place + 1)
    expect(figure).to_have_count(0)


def test_explanations_show_every_class_and_their_difference(various_tab, various):
    page, tab = various, various_tab
    anew(tab, 0)
    figures = tab.locator(".sheet-maps figure")
    labels = figures.evaluate_all("all => all.map((one) => one.dataset.label)")
    assert labels == ["fake", "real", "difference"]
    canvases = [pixels(figures.nth(i).locator("canvas").first) for i in range(3)]
    assert all((one != other).any() for one, other in pairwise(canvases))
    assert all(np.ptp(one.astype(int), -1).max() > 100 for one in canvases), "there are colours"
    limit = max(grid.limit for grid in page.images[0].maps["gradient_weighted_attention"].values())
    assert data(figures.nth(0).locator(".ticks"))[-1] == pytest.approx(limit)


def test_maps_are_those_recorded_whatever_the_viewer_hides(open_page, plain):
    """Sign, threshold and layers are the viewer's; a sheet is evidence."""
    tab = open_page(plain, hash="#sheet-0")
    canvas = tab.locator(".sheet-maps canvas").first
    before = pixels(canvas)
    tab.keyboard.press("Escape")
    viewed = tab.locator("#image-0 .frame canvas").nth(1)
    whole = pixels(viewed)
    tab.locator("#fields").get_by_label("Hide below").fill("60")
    tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => done(true)))")
    assert (pixels(viewed) != whole).any()
    opened(tab)
    assert (pixels(canvas) == before).all()


def test_hostile_names_are_text(open_page):
    page = comparison_page()
    removal = page.images[0].removals[0].model_copy(update={"row": HOSTILE, "target": HOSTILE})
    page = changed(page, name=HOSTILE, id=HOSTILE, label=HOSTILE, caveats=[HOSTILE], removals=[removal])
    page = page.model_copy(update={"title": HOSTILE, "provenance": {HOSTILE: {HOSTILE: HOSTILE}}})
    tab = open_page(page, hash="#sheet-0")
    shown(tab, 0)
    assert tab.locator("#sheet-content img").count() == 0
    expect(tab.locator("#sheet-title")).to_have_text(HOSTILE.replace("\u202e", "\\u202e"))
    assert "\u202e" not in tab.locator("#sheet-content").inner_text()


@pytest.mark.parametrize("number", range(len(REMOVED)))
def test_says_what_removal_shows(various_tab, number):
    top, random, said, verdict = REMOVED[number]
    tab = various_tab
    anew(tab, PLACES["removed"] + number)
    part = section(tab, "What happens when the evidence is removed")
    start = "Removing the 39 of 196 patches that gradient-weighted attention ranks highest"
    expect(part.locator(".removal-said")).to_contain_text(start)
    expect(part.locator(".removal-said")).to_contain_text(said)
    expect(part.locator("tbody td").last).to_contain_text(verdict)
    means = [float(np.mean(random))] if random else []
    assert data(part) == pytest.approx([2.5, top, *means, *random])
    assert part.locator("svg .plot-draw").count() == len(random)


def test_many_removals_are_summed_up(measured_tab, measured):
    page, tab = measured, measured_tab
    removals = page.images[2].removals
    anew(tab, 2)
    said = section(tab, "What happens when the evidence is removed").locator(".removal-said")
    expect(said.nth(0)).to_contain_text(f"For {len(removals) - 1} of {len(removals)} methods")
    assert len(removals[0].random) == 3
    expect(said.nth(0)).to_contain_text("random patches would, too, 1 time in 4")
    expect(said.nth(1)).to_contain_text(
        f"For {in_words(page, removals[1].row)} removing the top patches does no more than"
    )


def test_agreement_names_the_least_alike(open_page):
    page = comparison_page()
    agreement = page.images[0].agreement
    assert agreement is not None
    spearman = [[1.0, 0.5, None], [0.5, 1.0, -0.25], [None, -0.25, 1.0]]
    page = changed(page, agreement=agreement.model_copy(update={"spearman": spearman}))
    tab = open_page(page, hash="#sheet-0")
    part = section(tab, "Do the methods agree on this image?")
    expect(part.locator(".agreement-said")).to_contain_text(
        "Least alike are the maps of LeGrad and gradient magnitude (saliency) (−0.25)"
    )
    assert data(part.locator("table")) == [one for line in spearman for one in line if one is not None]


def test_agreement_of_methods_is_not_that_of_controls(open_page):
    page = comparison_page()
    agreement = page.images[0].agreement
    spearman = [[1.0, 0.5, -0.9], [0.5, 1.0, -0.25], [-0.9, -0.25, 1.0]]
    page = changed(page, agreement=agreement.model_copy(update={"spearman": spearman}))
    *methods, control = page.rows
    page = page.model_copy(update={"rows": [*methods, control.model_copy(update={"control": True})]})
    tab = open_page(page, hash="#sheet-0")
    said = section(tab, "Do the methods agree on this image?").locator(".agreement-said")
    expect(said).to_contain_text("The rank correlation of Chefer's rollout and LeGrad (0.50)")
    expect(said).not_to_contain_text("saliency")


def test_scores_equal_the_record_and_localisation_needs_a_mask(measured_tab, measured):
    page, tab = measured, measured_tab
    image = page.images[0]
    anew(tab, 0)
    found = section(tab, "Does the evidence lie where the image was changed?")
    parts = [part for part in page.parts if part.protocol == "maps"]
    assert data(found.locator("table")) == [image.scores[p.key][row.name] for row in page.rows for p in parts]
    others = [part for part in page.parts if part not in parts]
    table = section(tab, "Scores of this image").locator("table")
    assert data(table) == [image.scores[p.key][row.name] for row in page.rows for p in others]
    tab.keyboard.press("ArrowRight")
    shown(tab, 1)
    assert page.images[1].mask is None
    expect(found).to_have_count(0)


def pages_in(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


@pytest.mark.parametrize(("page", "most"), [("plain", 3), ("measured", 7)])
def test_prints_the_sheet_alone(open_page, request, page, most):
    tab = open_page(request.getfixturevalue(page), hash="#sheet-0", color_scheme="dark")
    shown(tab, 0)
    tab.emulate_media(media="print")
    expect(tab.locator("#sheet-title")).to_be_visible()
    for other in ("main", "header", "footer", "#sheet", ".sheet-bar"):
        expect(tab.locator(other).first).to_be_hidden()
    ground = tab.locator("body").evaluate("one => getComputedStyle(one).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    assert 1 <= pages_in(tab.pdf(format="A4")) <= most
    tab.emulate_media(media="screen")
    expect(tab.locator("#sheet #sheet-title")).to_be_visible()
    expect(tab.locator("main")).to_have_count(1)


def test_the_print_button_prints(open_page, plain):
    tab = open_page(plain, hash="#sheet-0")
    tab.evaluate("window.print = () => { document.documentElement.dataset.printed = 'true'; }")
    tab.get_by_role("button", name="Print or save as PDF").click()
    assert tab.evaluate("document.documentElement.dataset.printed") == "true"


def test_prints_the_page_with_folds_open_and_every_image_painted(open_page):
    tab = open_page(explanation_page(12))
    expect(tab.locator("#image-11 canvas")).to_have_count(0)
    folded = tab.locator("details:not([open])").count()
    tab.locator("html[data-printable]").wait_for(state="attached")
    tab.emulate_media(media="print")
    maps = tab.locator("#image-11 .frame canvas")
    expect(maps.first).to_be_visible()
    assert all(pixels(maps.nth(i)).std() > 5 for i in range(3))
    expect(tab.locator("details:not([open]):not(.toolbar *)")).to_have_count(0)
    expect(tab.locator("#toolbar")).to_be_hidden()
    tab.emulate_media(media="screen")
    expect(tab.locator("details:not([open])")).to_have_count(folded)


@pytest.mark.parametrize("width", [360, 1280])
def test_fits_the_screen(open_page, measured, width):
    tab = open_page(measured, hash="#sheet-0", width=width)
    shown(tab, 0)
    assert tab.evaluate("(one => one.scrollWidth <= one.clientWidth)(document.getElementById('sheet'))")
