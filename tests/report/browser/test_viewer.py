"""Every control of the viewer changes what is painted, and to what the data says."""

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from playwright.sync_api import expect
from report_pages import GRID, explanation_page, smooth
from viewing import (
    METHOD,
    ODD,
    choose,
    common,
    expect_grey,
    expect_near,
    map_of,
    overlay,
    products_of,
    read,
    settle,
    shot,
    slide,
    strongest,
)

from xai.attr.layers import HEAD_FUSIONS, LAYER_FUSIONS
from xai.report.colours import ColourScale
from xai.report.encode import encode_grid
from xai.report.payload import Fusion


def test_classes_share_one_scale_and_the_difference_is_what_is_left(explained):
    page, tab = explained
    real, fake = map_of(page, "real"), map_of(page, "fake")
    photo, image = shot(tab, 0), page.images[ODD]
    scale = common(real, fake)
    expect_near(shot(tab, 1), overlay(photo, image, fake, scale))
    expect_near(shot(tab, 2), overlay(photo, image, real, scale))
    expect_near(shot(tab, 3), overlay(photo, image, fake - real, ColourScale(scale.limit, signed=True)))
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
    expect_near(shot(tab, 4), overlay(photo, image, overlap, ColourScale(scale.limit / 2)))


def test_no_opacity_leaves_the_grey_photograph(explained):
    page, tab = explained
    slide(tab, "Opacity", 0)
    expect_grey(tab, page, (1, 2, 3, 4))
    slide(tab, "Opacity", 100)
    maps = map_of(page, "real"), map_of(page, "fake")
    expect_near(shot(tab, 1), overlay(shot(tab, 0), page.images[ODD], maps[1], common(*maps), opacity=1))


def test_the_threshold_hides_what_is_weak(explained):
    page, tab = explained
    slide(tab, "Hide below", 40)
    maps = map_of(page, "real"), map_of(page, "fake")
    expected = overlay(
        shot(tab, 0), page.images[ODD], maps[1], common(*maps), hide=lambda relative: relative < 0.4
    )
    expect_near(shot(tab, 1), expected)
    slide(tab, "Hide below", 100)
    expect_grey(tab, page, (1, 2, 3, 4))


def test_the_sign_keeps_one_side(explained):
    page, tab = explained
    fake, real = map_of(page, "fake"), map_of(page, "real")
    scale = ColourScale(common(real, fake).limit, signed=True)
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
    expect_near(shot(tab, 1), expected)
    assert (shot(tab, 3) == difference).all()  # signed maps keep two colours


def test_one_class_alone_is_the_same_map(explained):
    page, tab = explained
    real, fake = map_of(page, "real"), map_of(page, "fake")
    scale = common(real, fake)
    alone = {
        "real": (real, scale),
        "fake": (fake, scale),
        "difference": (fake - real, ColourScale(scale.limit, signed=True)),
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
HEADS = {"max of all": "max", "min of all": "min", "sum of all": "sum", "head 2": 2}
OVER_HEADS = HEAD_FUSIONS | {"sum": lambda maps, dim: maps.sum(dim)}
CHOICES = [
    ("last layer", "as explained (mean)"),
    ("as explained (2, 3)", "max of all"),
    ("all layers (4)", "min of all"),
    ("last layer", "sum of all"),
    ("layer 1", "head 2"),
]
FUSIONS = [(clamp, fusion) for clamp in ("fused", "heads", None) for fusion in LAYER_FUSIONS]


@pytest.mark.parametrize("place", range(len(FUSIONS)), ids=lambda place: "-".join(map(str, FUSIONS[place])))
def test_layers_and_heads_are_fused_as_the_method_does(open_page, place):
    """As the map was fused, from the products as the page holds them; two choices in turn for each fusion."""
    clamp, fusion = FUSIONS[place]
    given = Fusion(
        row=METHOD,
        layers=[2, 3],
        presets={"last_layer": [3], "all_layers": [0, 1, 2, 3]},
        head_fusion="mean",
        layer_fusion=fusion,
        clamp=clamp,
    )
    alone = explanation_page(2).images[ODD]
    page = explanation_page(1).model_copy(update={"fusion": given, "images": [alone]})
    tab = open_page(page)
    for layers, head in (CHOICES[place % 5], CHOICES[(place + 2) % 5]):
        choose(tab, "Layers", layers)
        choose(tab, "Heads", head)
        maps = {
            label: fused(products_of(page, label, 0), LAYERS[layers], HEADS.get(head, "mean"), fusion, clamp)
            for label in ("real", "fake")
        }
        scale = common(*maps.values())
        photo, image = shot(tab, 0, 0), alone
        if scale.limit == 0:
            expect_grey(tab, page, (1, 2), 0)
            continue
        expect_near(shot(tab, 1, 0), overlay(photo, image, maps["fake"], scale))
        patch = np.unravel_index(np.abs(maps["fake"]).argmax(), (GRID, GRID))
        strongest(tab, 1, 0)
        values = read(tab, 0)
        assert values["fake"] == pytest.approx(maps["fake"][patch], rel=1e-3, abs=1e-12)
        assert values["real"] == pytest.approx(maps["real"][patch], rel=1e-3, abs=1e-12)


def fused(products, layers, head, fusion, clamp):
    """As `xai.attr.layers.LayerFusion` fuses them."""
    chosen = torch.from_numpy(products[layers])
    chosen = chosen[:, [head]] if isinstance(head, int) else chosen
    chosen = chosen.clamp_min(0) if clamp == "heads" else chosen
    by_layer = OVER_HEADS["mean" if isinstance(head, int) else head](chosen, 1)
    values = LAYER_FUSIONS[fusion](by_layer, 0)
    return (values.clamp_min(0) if clamp == "fused" else values).numpy()


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
    strongest(tab, 1)
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
