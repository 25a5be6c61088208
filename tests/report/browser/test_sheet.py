"""The evidence sheet and its curve explorer: numbers equal the payload's, pictures what the model saw."""

import re
from base64 import b64decode
from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image as Pillow
from playwright.sync_api import Page, expect
from report_pages import benchmark_page, comparison_page, explanation_page

from xai.report.payload import Image, Part
from xai.report.payload import Page as Payload

HOSTILE = '<img src=x onerror="document.title=1">\u202egnp.exe'
FILL = (127, 122, 112)  # benchmark_page's mean colour, #7f7a70
MEAN = "deletion|mean-3"


def changed(page: Payload, place: int = 0, **fields: object) -> Payload:
    """The page with one image changed."""
    images = list(page.images)
    images[place] = images[place].model_copy(update=fields)
    return page.model_copy(update={"images": images})


def opened(tab: Page, place: int = 0) -> None:
    tab.locator(f"#image-{place} .open-sheet").click()
    shown(tab, place)


def shown(tab: Page, place: int) -> None:
    expect(tab.locator(f"#sheet-content[data-place='{place}'] #sheet-title")).to_be_visible()


def section(tab: Page, title: str):
    return tab.locator("#sheet-content section", has=tab.get_by_role("heading", name=title, exact=True))


def data(locator) -> list[float]:
    """The exact numbers behind those shown."""
    return [float(one) for one in locator.locator("data").evaluate_all("all => all.map((one) => one.value)")]


def pixels(canvas) -> np.ndarray:
    """(height, width, 3) of a canvas; as a PNG, since Chromium warns of repeated readings of the bitmap."""
    uri = canvas.evaluate("one => one.toDataURL('image/png')")
    return np.asarray(Pillow.open(BytesIO(b64decode(uri.split(",")[1]))).convert("RGB"))


def painted(canvas, image: Image, colour: tuple[int, int, int]) -> set[int]:
    """Patches of which every pixel has this colour."""
    grid = next(iter(next(iter(image.maps.values())).values()))
    values = pixels(canvas)
    rows = values.shape[0] // grid.rows
    blocks = values.reshape(grid.rows, rows, grid.cols, rows, 3)
    return set(np.flatnonzero((blocks == colour).all((1, 3, 4))).tolist())


def order(image: Image, row: str) -> list[int]:
    return np.frombuffer(b64decode(image.orders[row]), "<u2").tolist()


def slide(tab: Page, step: int) -> None:
    slider = tab.get_by_label("Step along the curve")
    slider.fill(str(step))
    expect(slider).to_have_value(str(step))


def part_of(page: Payload, key: str) -> Part:
    return next(part for part in page.parts if part.key == key)


def test_opens_from_its_button_and_gives_the_focus_back(open_page):
    tab = open_page(explanation_page())
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
    tab.wait_for_function("location.hash === ''")  # told after the sheet is gone


def test_opens_from_the_address(open_page):
    tab = open_page(explanation_page(), hash="#sheet-2")
    shown(tab, 2)
    tab.get_by_role("button", name="Close the evidence sheet").click()
    expect(tab.locator("#image-2 .open-sheet")).to_be_focused()
    tab.evaluate("location.hash = '#sheet-0'")
    shown(tab, 0)


@pytest.mark.parametrize("hash", ["#sheet-9", "#sheet-", "#sheet-1x", "#image-1"])
def test_an_address_of_no_sheet_opens_none(open_page, hash):
    tab = open_page(explanation_page(), hash=hash)
    expect(tab.locator("#sheet")).to_be_hidden()


def test_goes_from_image_to_image(open_page):
    tab = open_page(explanation_page(), hash="#sheet-0")
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


def test_says_what_an_image_is(open_page):
    page = explanation_page()
    page = changed(page, box=(10, 20, 200.5, 220), seen=(10, 20, 210.5, 240), label=None)
    tab = open_page(page, hash="#sheet-0")
    image = page.images[0]
    facts = tab.locator("#sheet-content .facts").first
    for text in (image.sha256, image.input_hash, "3f" * 32, "384 × 384 px", "200.5 × 220 px from (10, 20)"):
        expect(facts).to_contain_text(text)
    answers = tab.locator("#sheet-content .answers")
    assert sorted(data(answers)) == sorted(image.probabilities.values())
    expect(answers).to_contain_text("the true class is not known")
    expect(tab.locator("#sheet-content")).to_contain_text("they do not prove that a region was tampered with")


def test_explanations_show_every_class_and_their_difference(open_page):
    page = explanation_page()
    tab = open_page(page, hash="#sheet-0")
    figures = tab.locator(".sheet-maps figure")
    labels = figures.evaluate_all("all => all.map((one) => one.dataset.label)")
    assert labels == ["real", "fake", "difference"]
    canvases = [pixels(figures.nth(i).locator("canvas").first) for i in range(3)]
    assert all((one != other).any() for one, other in pairwise(canvases))
    assert all(np.ptp(one.astype(int), -1).max() > 100 for one in canvases), "there are colours"
    limit = max(grid.limit for grid in page.images[0].maps["gradient_weighted_attention"].values())
    assert data(figures.nth(0).locator(".ticks"))[-1] == pytest.approx(limit)


def test_maps_are_those_recorded_whatever_the_viewer_hides(open_page):
    """Sign, threshold and layers are the viewer's; a sheet is evidence."""
    tab = open_page(explanation_page(), hash="#sheet-0")
    canvas = tab.locator(".sheet-maps canvas").first
    before = pixels(canvas)
    tab.keyboard.press("Escape")
    viewed = tab.locator("#image-0 .frame canvas").nth(1)
    whole = pixels(viewed)
    tab.locator("#fields").get_by_label("Hide below").fill("60")
    tab.wait_for_function("() => new Promise((done) => requestAnimationFrame(() => done(true)))")
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


def removal_page(top: float, random: list[float], clean: float = 2.5) -> Payload:
    page = explanation_page()
    removal = page.images[0].removals[0]
    return changed(page, removals=[removal.model_copy(update={"top": top, "random": random, "clean": clean})])


@pytest.mark.parametrize(
    ("top", "random", "said", "verdict"),
    [
        (-0.75, [2.25, 2.0, 2.4], "leaves it at 2 … 2.4 (3 draws). The top patches matter more", "more than"),
        (2.3, [2.25, 2.0, 2.4], "Removing the top patches does no more than removing random ones", "no more"),
        (2.1, [2.25, 2.0, 2.4], "on average, but not more than every draw", "unclear"),
        (2.5, [2.5], "leaves the margin for fake at 2.5; removing 39 random ones", "no more"),
        (2.5, [2.5], "2.5 (1 draw). Removing the top patches does not lower the value", "no more"),
        (1.0, [], "no random patches were removed to compare", "unclear"),
        (3.5, [4.0, 5.0], "from 2.5 to 3.5", "no more"),
    ],
)  # fmt: skip
def test_says_what_removal_shows(open_page, top, random, said, verdict):
    tab = open_page(removal_page(top, random), hash="#sheet-0")
    part = section(tab, "What happens when the evidence is removed")
    start = "Removing the 39 of 196 patches that gradient_weighted_attention ranks highest"
    expect(part.locator(".removal-said")).to_contain_text(start)
    expect(part.locator(".removal-said")).to_contain_text(said)
    expect(part.locator("tbody td").last).to_contain_text(verdict)
    means = [float(np.mean(random))] if random else []
    assert data(part) == pytest.approx([2.5, top, *means, *random])
    assert part.locator("svg .plot-draw").count() == len(random)


def test_many_removals_are_summed_up(open_page):
    page = benchmark_page()
    removals = list(page.images[0].removals)
    removals[1] = removals[1].model_copy(update={"top": 2.4})
    tab = open_page(changed(page, removals=removals), hash="#sheet-0")
    said = section(tab, "What happens when the evidence is removed").locator(".removal-said")
    expect(said.nth(0)).to_contain_text(f"For {len(removals) - 1} of {len(removals)} methods")
    assert len(removals[0].random) == 3
    expect(said.nth(0)).to_contain_text("random patches would, too, 1 time in 4")
    expect(said.nth(1)).to_contain_text(f"For {removals[1].row} removing the top patches does no more than")


def test_agreement_names_the_least_alike(open_page):
    page = comparison_page()
    agreement = page.images[0].agreement
    assert agreement is not None
    spearman = [[1.0, 0.5, None], [0.5, 1.0, -0.25], [None, -0.25, 1.0]]
    page = changed(page, agreement=agreement.model_copy(update={"spearman": spearman}))
    tab = open_page(page, hash="#sheet-0")
    part = section(tab, "Do the methods agree on this image?")
    expect(part.locator(".agreement-said")).to_contain_text(
        "Least alike are the maps of legrad and saliency (−0.25)"
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
    expect(said).to_contain_text("The rank correlation of chefer and legrad (0.50)")
    expect(said).not_to_contain_text("saliency")


def test_scores_equal_the_record_and_localisation_needs_a_mask(open_page):
    page = benchmark_page()
    image = page.images[0]
    tab = open_page(page, hash="#sheet-0")
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


def test_no_explorer_without_curves(open_page):
    tab = open_page(comparison_page(), hash="#sheet-0")
    shown(tab, 0)
    expect(tab.locator(".explorer")).to_have_count(0)


def test_no_explorer_without_orders(open_page):
    tab = open_page(changed(benchmark_page(), orders={}), hash="#sheet-0")
    shown(tab, 0)
    expect(tab.locator(".explorer")).to_have_count(0)


def test_deletion_is_drawn_as_the_model_saw_it(open_page):
    page = benchmark_page()
    image, part = page.images[0], part_of(page, MEAN)
    tab = open_page(page, hash="#sheet-0")
    explorer = tab.locator(".explorer")
    explorer.get_by_label("Curve", exact=True).select_option(MEAN)
    explorer.get_by_label("Method", exact=True).select_option("chefer")
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


def test_states_show_what_the_model_saw(open_page):
    """A crop fills the model's square input, stretched where it is no square."""
    page = changed(benchmark_page(), seen=(0, 96, 192, 192))
    image = page.images[0]
    tab = open_page(page, hash="#sheet-0")
    slide(tab, 0)
    assert image.picture is not None
    with Pillow.open(BytesIO(b64decode(image.picture.split(",")[1]))) as picture:
        scale = picture.width / image.width
        box = (0, round(96 * scale), round(192 * scale), round(192 * scale))
        expected = np.asarray(picture.convert("RGB").crop(box).resize((14, 14), Pillow.Resampling.BOX), float)
    drawn = Pillow.fromarray(pixels(tab.locator(".explorer canvas").first))
    found = np.asarray(drawn.resize((14, 14), Pillow.Resampling.BOX), float)
    assert np.abs(found - expected).mean() < 4


def test_insertion_begins_with_nothing(open_page):
    page = benchmark_page()
    image, key = page.images[0], "insertion|mean-3"
    tab = open_page(page, hash="#sheet-0")
    explorer = tab.locator(".explorer")
    explorer.get_by_label("Curve", exact=True).select_option(key)
    explorer.get_by_label("Compared with").select_option("")
    expect(explorer.locator("canvas")).to_have_count(1)
    row = explorer.get_by_label("Method", exact=True).input_value()
    for step, fraction in enumerate(part_of(page, key).fractions):
        slide(tab, step)
        kept = set(order(image, row)[: round(fraction * 196)])
        assert painted(explorer.locator("canvas"), image, FILL) == set(range(196)) - kept


def test_srg_shows_both_of_its_curves(open_page):
    page = benchmark_page()
    image, key = page.images[0], "srg|mean-3"
    tab = open_page(page, hash="#sheet-0")
    explorer = tab.locator(".explorer")
    explorer.get_by_label("Curve", exact=True).select_option(key)
    explorer.get_by_label("Compared with").select_option("")
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


def test_the_curve_is_dragged_along(open_page):
    page = benchmark_page()
    image, key = page.images[0], "deletion|token-6"
    tab = open_page(page, hash="#sheet-0")
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


def test_the_slider_moves_by_keys_and_turns_no_page(open_page):
    tab = open_page(benchmark_page(), hash="#sheet-1")
    slider = tab.get_by_label("Step along the curve")
    slide(tab, 2)
    slider.focus()
    slider.press("ArrowRight")
    expect(slider).to_have_value("3")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("98 of 196 patches removed"))
    shown(tab, 1)


def test_the_choice_is_kept_for_the_next_image(open_page):
    tab = open_page(benchmark_page(), hash="#sheet-0")
    tab.locator(".explorer").get_by_label("Method", exact=True).select_option("legrad")
    tab.locator("#sheet-next").click()
    shown(tab, 1)
    expect(tab.locator(".explorer").get_by_label("Method", exact=True)).to_have_value("legrad")


def pages_in(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


@pytest.mark.parametrize(("page", "most"), [(explanation_page, 3), (benchmark_page, 7)])
def test_prints_the_sheet_alone(open_page, page, most):
    tab = open_page(page(), hash="#sheet-0", color_scheme="dark")
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


def test_the_print_button_prints(open_page):
    tab = open_page(explanation_page(), hash="#sheet-0")
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
def test_fits_the_screen(open_page, width):
    tab = open_page(benchmark_page(), hash="#sheet-0", width=width)
    shown(tab, 0)
    assert tab.evaluate("(one => one.scrollWidth <= one.clientWidth)(document.getElementById('sheet'))")
