"""What tests of the viewer do with its controls, and what it should then paint."""

from base64 import b64decode

import numpy as np
from browsing import PAINTED, pixels, wait_until

from xai.core import Geometry
from xai.core.names import row_in_words
from xai.report.colours import ColourScale

METHOD = "gradient_weighted_attention"
ODD = 1  # images at odd places have no mask, so nothing is outlined
NEAR = 1.0  # mean difference of pixels: steps of a scale, and roundings


FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
LARGE = f"""([place, scrolls]) => {{
  document.querySelector(`.thumb[data-place='${{place}}']:not([aria-current])`)?.click();
  if (scrolls) document.getElementById(`image-${{place}}`).scrollIntoView({{ block: "nearest" }});
  return {FRAMES};
}}"""


def settle(tab):
    """Until what was asked for is on the screen."""
    tab.evaluate(f"() => {FRAMES}")


def show(tab, place, scrolls=False):
    """Make an image the large one, where there are several, by its tile; `scrolls` brings it into view."""
    tab.evaluate(LARGE, [place, scrolls])
    wait_until(tab, PAINTED)


def shot(tab, panel, place=ODD):
    """(height, width, 3) of a panel as it is now."""
    show(tab, place, scrolls=True)
    return pixels(tab.locator(f"#image-{place} .frame canvas").nth(panel))[..., :3].astype(int)


def slide(tab, name, percent):
    tab.get_by_role("slider", name=name).fill(str(percent))
    settle(tab)


def in_words(page, row):
    """A row as the page says it."""
    (found,) = (one for one in page.rows if one.name == row)
    return row_in_words(found.name, found.method)


def choose(tab, label, text):
    tab.get_by_label(label, exact=True).select_option(label=text)
    settle(tab)


def show_wipe(tab):
    tab.locator(".segments").get_by_text("Wipe").click()
    settle(tab)


def wipe(tab, percent, place=ODD):
    show(tab, place)
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
    scale = ColourScale.of(maps)
    return ColourScale(scale.limit * times, scale.signed if signed is None else signed)


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
