"""What tests of the evidence sheet and its curve explorer read from it."""

from base64 import b64decode
from io import BytesIO

import numpy as np
from PIL import Image as Pillow
from playwright.sync_api import Page, expect
from viewing import show

from xai.report.image_payload import Image
from xai.report.payload import Page as Payload
from xai.report.payload import PageMetric

HOSTILE = '<img src=x onerror="document.title=1">\u202egnp.exe'
FILL = (127, 122, 112)  # benchmark_page's mean colour, #7f7a70
MEAN = "deletion|mean-3"
ANEW = """async (place) => {
  const sheet = document.getElementById("sheet");
  if (sheet.open) {
    const closed = new Promise((done) => sheet.addEventListener("close", done, { once: true }));
    sheet.close();
    await closed;
  }
  const content = document.getElementById("sheet-content");
  content.replaceChildren();
  delete content.dataset.place;
  location.hash = `#sheet-${place}`;
}"""


def changed(page: Payload, place: int = 0, **fields: object) -> Payload:
    """The page with one image changed."""
    images = list(page.images)
    images[place] = images[place].model_copy(update=fields)
    return page.model_copy(update={"images": images})


def opened(tab: Page, place: int = 0) -> None:
    show(tab, place, scrolls=True)  # painted first: its button brings it into view anyway
    tab.locator(f"#image-{place} .open-sheet").click()
    shown(tab, place)


def shown(tab: Page, place: int) -> None:
    expect(tab.locator(f"#sheet-content[data-place='{place}'] #sheet-title")).to_be_visible()


def anew(tab: Page, place: int) -> None:
    """The sheet of an image, as if none had been open before."""
    tab.evaluate(ANEW, place)
    shown(tab, place)


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


def part_of(page: Payload, key: str) -> PageMetric:
    return next(part for part in page.parts if part.key == key)
