"""Every control of the viewer changes what is painted, and to what the data says."""

import re
from base64 import b64decode
from collections import Counter
from importlib.resources import files

import numpy as np
import pytest
import torch
from browsing import pixels
from matplotlib import colormaps
from playwright.sync_api import expect
from report_pages import GRID, benchmark_page, comparison_page, explanation_page, smooth

from xai.attr.options import HEAD_FUSIONS, LAYER_FUSIONS
from xai.core import Geometry
from xai.report.encode import encode_grid
from xai.report.page import SCRIPTS
from xai.report.payload import Fusion
from xai.report.scale import Scale

METHOD = "gradient_weighted_attention"
ODD = 1  # images at odd places have no mask, so nothing is outlined
NEAR = 1.0  # mean difference of pixels: steps of a scale, and roundings


def settle(tab):
    """Until what was asked for is on the screen."""
    tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def shot(tab, panel, place=ODD):
    """(height, width, 3) of a panel as it is now."""
    canvas = tab.locator(f"#image-{place} .frame canvas").nth(panel)
    tab.locator(f"#image-{place}").scroll_into_view_if_needed()
    expect(canvas).to_be_attached()
    settle(tab)
    return pixels(canvas)[..., :3].astype(int)


def slide(tab, name, percent):
    tab.get_by_role("slider", name=name).fill(str(percent))
    settle(tab)


def choose(tab, label, text):
    tab.get_by_label(label, exact=True).select_option(label=text)
    settle(tab)


def show_wipe(tab):
    tab.locator(".segments").get_by_text("Wipe").click()
    settle(tab)


def wipe(tab, percent, place=ODD):
    tab.locator(f"#image-{place}").scroll_into_view_if_needed()
    tab.locator(f"#image-{place}").get_by_role("slider", name="Wipe").fill(str(percent))
    return shot(tab, 0, place)


def map_of(page, label="fake", row=METHOD, place=ODD):
    """A map as the payload holds it."""
    grid = page.images[place].maps[row][label]
    codes = np.frombuffer(b64decode(grid.values), "<i2").reshape(grid.rows, grid.cols)
    return codes * (grid.limit / 32767)


def products_of(page, label="fake", place=ODD):
    stack = page.images[place].products[label]
    codes = np.frombuffer(b64decode(stack.values), np.int8)
    return codes.reshape(stack.layers, stack.heads, stack.rows, stack.cols) * (stack.limit / 127)


def grey_of(photo, image):
    """The photograph in grey, dimmed and hatched where the model saw nothing; and where it saw something."""
    size = photo.shape[1::-1]
    seen = np.isfinite(Geometry((image.width, image.height), image.seen).project(np.zeros((1, 1)), size))
    grey = photo @ np.array([0.299, 0.587, 0.114]) * 0.85 / 255
    grey[~seen] = 0.4 * grey[~seen] + 0.5
    line = max(1, round(max(size) / 240))
    stripes = np.add.outer(np.arange(size[1]), np.arange(size[0])) % (7 * line) < line
    grey[stripes & ~seen] *= 0.85
    return grey[..., None], seen


def overlay(photo, image, values, scale, opacity=0.8, hide=lambda relative: relative == 0, colours=None):
    """What a panel has to show: the photograph and the values, both from the page's own data."""
    grey, seen = grey_of(photo, image)
    projected = Geometry((image.width, image.height), image.seen).project(values, photo.shape[1::-1])
    relative = np.nan_to_num(projected) / scale.limit
    strength = np.where(hide(relative), 0, scale.strength(projected))[..., None]
    alpha = opacity * (1 - (1 - strength**1.25) ** 4)
    painted = colours(relative)[..., :3] if colours else scale.colours(projected)
    return np.where(seen[..., None], grey * (1 - alpha) + painted * alpha, grey).clip(0, 1) * 255


def expect_near(found, expected):
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < NEAR


def expect_grey(tab, page, panels, place=ODD):
    photo = shot(tab, 0, place)
    grey = np.repeat(grey_of(photo, page.images[place])[0] * 255, 3, axis=-1)
    for panel in panels:
        assert np.abs(shot(tab, panel, place) - grey).max() <= 1


def common(*maps, times=1, signed=None):
    scale = Scale.of(maps)
    return Scale(scale.limit * times, scale.signed if signed is None else signed)


@pytest.fixture
def explained(open_page):
    page = explanation_page(2)
    return page, open_page(page)


def test_classes_share_one_scale_and_the_difference_is_what_is_left(explained):
    page, tab = explained
    real, fake = map_of(page, "real"), map_of(page, "fake")
    photo, image = shot(tab, 0), page.images[ODD]
    scale = common(real, fake)
    expect_near(shot(tab, 1), overlay(photo, image, real, scale))
    expect_near(shot(tab, 2), overlay(photo, image, fake, scale))
    expect_near(shot(tab, 3), overlay(photo, image, fake - real, Scale(scale.limit, signed=True)))
    expect_near(shot(tab, 4), overlay(photo, image, np.minimum(real, fake), scale))


def test_signed_classes_may_differ_by_twice_their_limit(open_page):
    page = explanation_page(2)
    maps = {label: smooth(seed, signed=True) for seed, label in enumerate(("real", "fake"))}
    grids = {METHOD: {label: encode_grid(values) for label, values in maps.items()}}
    page = page.model_copy(update={"images": [one.model_copy(update={"maps": grids}) for one in page.images]})
    tab = open_page(page)
    photo, image = shot(tab, 0), page.images[ODD]
    scale = common(*maps.values(), times=2, signed=True)
    expect_near(shot(tab, 3), overlay(photo, image, maps["fake"] - maps["real"], scale))
    overlap = np.minimum(maps["real"].clip(0), maps["fake"].clip(0))
    expect_near(shot(tab, 4), overlay(photo, image, overlap, Scale(scale.limit / 2)))


def test_no_opacity_leaves_the_grey_photograph(explained):
    page, tab = explained
    slide(tab, "Opacity", 0)
    expect_grey(tab, page, (1, 2, 3, 4))
    slide(tab, "Opacity", 100)
    maps = map_of(page, "real"), map_of(page, "fake")
    expect_near(shot(tab, 2), overlay(shot(tab, 0), page.images[ODD], maps[1], common(*maps), opacity=1))


def test_the_threshold_hides_what_is_weak(explained):
    page, tab = explained
    slide(tab, "Hide below", 40)
    maps = map_of(page, "real"), map_of(page, "fake")
    expected = overlay(
        shot(tab, 0), page.images[ODD], maps[1], common(*maps), hide=lambda relative: relative < 0.4
    )
    expect_near(shot(tab, 2), expected)
    slide(tab, "Hide below", 100)
    expect_grey(tab, page, (1, 2, 3, 4))


def test_the_sign_keeps_one_side(explained):
    page, tab = explained
    fake, real = map_of(page, "fake"), map_of(page, "real")
    scale = Scale(common(real, fake).limit, signed=True)
    choose(tab, "Sign", "only against")
    expect_grey(tab, page, (1, 2, 4))  # these have no negative values
    photo, image = shot(tab, 0), page.images[ODD]
    expected = overlay(photo, image, fake - real, scale, hide=lambda relative: relative >= 0)
    expect_near(shot(tab, 3), expected)
    choose(tab, "Sign", "only for")
    expected = overlay(photo, image, fake - real, scale, hide=lambda relative: relative <= 0)
    expect_near(shot(tab, 3), expected)


@pytest.mark.parametrize("name", ["viridis", "cividis"])
def test_colour_maps(explained, name):
    page, tab = explained
    difference = shot(tab, 3)
    choose(tab, "Colours", name)
    maps = map_of(page, "real"), map_of(page, "fake")
    photo, image = shot(tab, 0), page.images[ODD]
    expected = overlay(photo, image, maps[1], common(*maps), colours=colormaps[name])
    expect_near(shot(tab, 2), expected)
    assert (shot(tab, 3) == difference).all()  # signed maps keep two colours


def test_one_class_alone_is_the_same_map(explained):
    page, tab = explained
    real, fake = map_of(page, "real"), map_of(page, "fake")
    scale = common(real, fake)
    alone = {
        "real": (real, scale),
        "fake": (fake, scale),
        "difference": (fake - real, Scale(scale.limit, signed=True)),
        "overlap": (np.minimum(real, fake), scale),
    }
    for label, (values, its_scale) in alone.items():
        choose(tab, "Class", label)
        expect(tab.locator(f"#image-{ODD} .frame canvas")).to_have_count(2)
        expect_near(shot(tab, 1), overlay(shot(tab, 0), page.images[ODD], values, its_scale))


def test_outlines_can_be_left_out(explained):
    page, tab = explained
    with_truth = shot(tab, 0, place=0)
    tab.get_by_label("Outlines").uncheck()
    settle(tab)
    without = shot(tab, 0, place=0)
    changed = (with_truth != without).any(-1)
    turquoise = (with_truth == (0, 255, 217)).all(-1)
    assert turquoise.sum() > 50 and changed[turquoise].mean() > 0.99
    mask = np.flatnonzero(turquoise.any(1))
    height = page.images[0].height
    assert mask[0] / len(turquoise) == pytest.approx(height // 3 / height, abs=0.02)
    assert mask[-1] / len(turquoise) == pytest.approx(height // 2 / height, abs=0.02)


LAYERS = {"as explained (2, 3)": [2, 3], "last layer": [3], "all layers (4)": [0, 1, 2, 3], "layer 1": [1]}
HEADS = {"max of all": "max", "min of all": "min", "head 2": 2}


@pytest.mark.parametrize("clamp", ["fused", "heads", None])
@pytest.mark.parametrize("fusion", list(LAYER_FUSIONS))
def test_layers_and_heads_are_fused_as_the_method_does(open_page, clamp, fusion):
    """As the map was fused, from the products as the page holds them."""
    given = Fusion(
        row=METHOD,
        layers=[2, 3],
        presets={"last_layer": [3], "all_layers": [0, 1, 2, 3]},
        head_fusion="mean",
        layer_fusion=fusion,
        clamp=clamp,
    )
    page = explanation_page(2).model_copy(update={"fusion": given})
    tab = open_page(page)
    for layers, head in [
        ("last layer", "as explained (mean)"),
        ("as explained (2, 3)", "max of all"),
        ("all layers (4)", "min of all"),
        ("layer 1", "head 2"),
    ]:
        choose(tab, "Layers", layers)
        choose(tab, "Heads", head)
        maps = {
            label: fused(products_of(page, label), LAYERS[layers], HEADS.get(head, "mean"), fusion, clamp)
            for label in ("real", "fake")
        }
        scale = common(*maps.values())
        photo, image = shot(tab, 0), page.images[ODD]
        if scale.limit == 0:
            expect_grey(tab, page, (1, 2))
            continue
        expect_near(shot(tab, 2), overlay(photo, image, maps["fake"], scale))
        patch = np.unravel_index(np.abs(maps["fake"]).argmax(), (GRID, GRID))
        strongest(tab, 2)
        values = read(tab)
        assert values["fake"] == pytest.approx(maps["fake"][patch], rel=1e-3, abs=1e-12)
        assert values["real"] == pytest.approx(maps["real"][patch], rel=1e-3, abs=1e-12)


def fused(products, layers, head, fusion, clamp):
    """As `xai.explanation.panels` fuses them."""
    chosen = torch.from_numpy(products[layers])
    chosen = chosen[:, [head]] if isinstance(head, int) else chosen
    chosen = chosen.clamp_min(0) if clamp == "heads" else chosen
    by_layer = HEAD_FUSIONS["mean" if isinstance(head, int) else head](chosen, 1)
    values = LAYER_FUSIONS[fusion](by_layer, 0)
    return (values.clamp_min(0) if clamp == "fused" else values).numpy()


def strongest(tab, panel, place=ODD):
    """The keyboard begins at a map's strongest patch."""
    canvas = tab.locator(f"#image-{place} .frame canvas").nth(panel)
    canvas.focus()
    canvas.press("Escape")
    canvas.press("ArrowDown")


def read(tab, place=ODD):
    """Name → value of the line below the panels."""
    line = tab.locator(f"#image-{place} .readout").inner_text()
    parts = [part.rsplit(": ", 1) for part in line.split(" · ")[1:]]
    return {name: number_of(text) for name, text in parts}


def number_of(text):
    mantissa, _, power = text.replace("−", "-").partition("×10")
    return float(mantissa) * 10 ** int(power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")) or 0)


@pytest.mark.parametrize("patch", [(0, 0), (4, 9), (13, 13)])
def test_the_value_under_the_pointer(explained, patch):
    page, tab = explained
    image = page.images[ODD]
    canvas = tab.locator(f"#image-{ODD} .frame canvas").nth(1)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    left, top, right, bottom = image.seen
    x = left + (patch[1] + 0.3) * (right - left) / GRID
    y = top + (patch[0] + 0.7) * (bottom - top) / GRID
    tab.mouse.move(box["x"] + box["width"] * x / image.width, box["y"] + box["height"] * y / image.height)
    line = tab.locator(f"#image-{ODD} .readout")
    expect(line).to_contain_text(f"patch row {patch[0] + 1} of 14, column {patch[1] + 1} of 14")
    real, fake = map_of(page, "real")[patch], map_of(page, "fake")[patch]
    expected = {"real": real, "fake": fake, "difference": fake - real, "overlap": min(real, fake)}
    assert read(tab) == pytest.approx(expected, rel=5e-4, abs=1e-9)
    tab.mouse.move(0, 0)
    expect(line).to_have_text("")


def test_nothing_is_read_where_the_model_saw_nothing(open_page):
    page = explanation_page(1)
    image = page.images[0].model_copy(update={"seen": (100, 100, 200, 200)})
    tab = open_page(page.model_copy(update={"images": [image]}))
    canvas = tab.locator("#image-0 .frame canvas").nth(1)
    canvas.hover(position={"x": 3, "y": 3})
    expect(tab.locator("#image-0 .readout")).to_have_text("not seen by the model")


def test_the_arrow_keys_read_the_patches(explained):
    page, tab = explained
    values = map_of(page, "fake")
    row, col = np.unravel_index(values.argmax(), values.shape)
    strongest(tab, 2)
    line = tab.locator(f"#image-{ODD} .readout")
    expect(line).to_contain_text(f"row {row + 1} of 14, column {col + 1} of 14")
    assert read(tab)["fake"] == pytest.approx(values.max(), rel=5e-4)
    for key, step in (("ArrowLeft", (0, -1)), ("ArrowUp", (-1, 0)), ("ArrowRight", (0, 1))):
        tab.keyboard.press(key)
        row, col = np.clip((row + step[0], col + step[1]), 0, GRID - 1)
        expect(line).to_contain_text(f"row {row + 1} of 14, column {col + 1} of 14")
        assert read(tab)["fake"] == pytest.approx(values[row, col], rel=5e-4, abs=1e-9)
    tab.keyboard.press("Escape")
    expect(line).to_have_text("")


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
        caption = tab.locator(f"#image-{place} figcaption")
        expect(caption).to_contain_text(f"left: real {place}")
        expect(caption).to_contain_text(f"right: fake {place}")
        assert not (wipe(tab, 100, place) == wipe(tab, 0, place)).all()


def test_wiping_between_two_methods_by_hand(open_page):
    page = comparison_page(2)
    tab = open_page(page)
    show_wipe(tab)
    left, right = wipe(tab, 100), wipe(tab, 0)
    choose(tab, "Method A", "legrad")
    choose(tab, "Method B", "chefer")
    assert (wipe(tab, 0) == left).all()
    choose(tab, "Method B", "saliency")
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


def test_methods_have_scales_of_their_own(open_page):
    page = comparison_page(2)
    tab = open_page(page)
    photo, image = shot(tab, 0), page.images[ODD]
    for panel, row in enumerate(("chefer", "legrad", "saliency"), 1):
        values = map_of(page, "fake", row)
        expect_near(shot(tab, panel), overlay(photo, image, values, Scale.of([values])))


def test_choosing_the_methods_of_a_benchmark(open_page):
    page = benchmark_page(2)
    tab = open_page(page)
    controls = tab.get_by_label("Method A", exact=True).locator("optgroup[label=Controls] option")
    assert controls.all_inner_texts() == [row.name for row in page.rows if row.control]
    image = page.images[ODD]
    for label, panel, row in (("Method A", 1, page.rows[3].name), ("Method B", 2, page.rows[-1].name)):
        choose(tab, label, row)
        values = map_of(page, "fake", row)
        expect_near(shot(tab, panel), overlay(shot(tab, 0), image, values, Scale.of([values])))
        title = tab.locator(f"#image-{ODD} .panel").nth(panel).locator("strong")
        expect(title).to_have_text(row)


def test_colour_bars_say_the_limits(explained):
    page, tab = explained
    limit = common(map_of(page, "real"), map_of(page, "fake")).limit
    tab.locator(f"#image-{ODD}").scroll_into_view_if_needed()
    panels = tab.locator(f"#image-{ODD} .panel")
    for panel, expected in ((1, (0, limit / 2, limit)), (3, (-limit, 0, limit))):
        ticks = panels.nth(panel).locator(".ticks span")
        found = [number_of(text) for text in ticks.all_inner_texts()]
        assert found == pytest.approx(expected, rel=5e-3)


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


def listed(tab):
    return [
        int(name.removeprefix("image-"))
        for name in tab.locator("article.image:visible").evaluate_all("(all) => all.map((one) => one.id)")
    ]


def test_the_order_of_the_images(open_page):
    page = benchmark_page(7)
    names = ["b10", "b9", "c", "a", "d", "f", "e"]
    images = [image.model_copy(update={"name": name}) for image, name in zip(page.images, names, strict=True)]
    images[4] = images[4].model_copy(update={"disagreement": None})
    page = page.model_copy(update={"images": images})
    tab = open_page(page)
    assert listed(tab) == list(range(7))

    choose(tab, "Order", "most disagreement first")
    known = sorted((i for i in range(7) if i != 4), key=lambda i: -(images[i].disagreement or 0))
    assert listed(tab) == [*known, 4]
    tab.get_by_label("Reversed").check()
    assert listed(tab) == [*known[::-1], 4]  # the unknown stays last
    tab.get_by_label("Reversed").uncheck()

    choose(tab, "Order", "by name")
    assert listed(tab) == [3, 1, 0, 2, 4, 6, 5]
    choose(tab, "Order", "by probability of the answer")
    assert listed(tab) == sorted(range(7), key=lambda i: -images[i].probabilities[images[i].predicted])

    choose(tab, "Order", "by score of method A")
    for part, row in ((page.parts[0], page.rows[0].name), (page.parts[-1], page.rows[4].name)):
        tab.get_by_label("Score of method A in", exact=True).select_option(index=page.parts.index(part))
        choose(tab, "Method A", row)
        expected = sorted(range(7), key=lambda i: images[i].scores[part.key][row] or 0)
        expect(tab.locator("#list-status")).to_have_text("7 of 7 images")
        assert listed(tab) == expected


def test_names_are_filtered(open_page):
    tab = open_page(explanation_page(12))
    tab.get_by_label("Name contains").fill("PHOTO_1")
    expect(tab.locator("#list-status")).to_have_text("3 of 12 images")
    assert listed(tab) == [1, 10, 11]
    tab.locator("#image-11").scroll_into_view_if_needed()
    expect(tab.locator("#image-11 .frame canvas").first).to_be_attached()
    tab.get_by_label("Name contains").fill("")
    assert listed(tab) == list(range(12))


PAINTED = "(all) => all.filter((one) => one.querySelector('.frame canvas')).map((one) => one.id)"


def test_only_what_is_in_view_is_painted_and_kept(open_page):
    tab = open_page(explanation_page(300))
    articles = tab.locator("article.image")
    expect(tab.locator("#image-0 .frame canvas")).to_have_count(5)
    assert len(articles.evaluate_all(PAINTED)) < 12
    tab.locator("#image-250").scroll_into_view_if_needed()
    expect(tab.locator("#image-250 .frame canvas")).to_have_count(5)
    assert len(articles.evaluate_all(PAINTED)) < 24
    for place in range(0, 250, 2):
        tab.locator(f"#image-{place}").scroll_into_view_if_needed()
        settle(tab)
    expect(tab.locator("#image-248 .frame canvas")).to_have_count(5)
    assert len(articles.evaluate_all(PAINTED)) <= 60
    tab.locator("#image-0").scroll_into_view_if_needed()
    expect(tab.locator("#image-0 .frame canvas")).to_have_count(5)  # decoded anew


def test_links_lead_to_images(open_page):
    tab = open_page(explanation_page(40), hash="#image-30")
    expect(tab.locator("#image-30 h3")).to_be_in_viewport()
    expect(tab.locator("#image-30 .frame canvas")).to_have_count(5)


def test_a_phone_begins_with_the_controls_folded(open_page):
    tab = open_page(explanation_page(1), width=360, height=740)
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
        "constructor",
        "__proto__",
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
