"""A thousand images × 14 rows: light enough to send, and quick under the hand."""

import pytest
from browsing import SLIDE, drawn, heap, wait_until
from playwright.sync_api import expect
from report_pages import big_page

from xai.report import write_page

IMAGES = 1000
HEAVIEST = 60e6  # bytes
READY = 20_000  # ms, on two busy cores; some 2 s on a quiet machine
REDRAWN = 1000  # ms
HEAP = 300  # megabytes, after every image came into view
DRAWN = 60  # megapixels of canvas that are kept at once


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("big") / "page.html"
    write_page(big_page(IMAGES), path)
    return path


def test_a_thousand_images(open_page, written):
    """One test, so that the page is built and read once."""
    assert written.stat().st_size < HEAVIEST
    tab = open_page(written)
    assert tab.evaluate("() => performance.now()") < READY
    assert drawn(tab) < DRAWN

    tab.evaluate(f"() => document.getElementById('image-{IMAGES - 1}').scrollIntoView()")
    last = tab.locator(f"#image-{IMAGES - 1} canvas[aria-label^=Evidence]").first
    expect(last).to_be_in_viewport()
    wait_until_painted(tab, f"#image-{IMAGES - 1} canvas")

    slider = tab.get_by_role("slider", name="opacity")
    slider.focus()  # the bar that sticks to the top
    before = last.evaluate(TOTAL)
    times = [slider.evaluate(SLIDE) for _ in range(5)]
    assert sorted(times)[2] < REDRAWN, times
    assert last.evaluate(TOTAL) != before

    for place in range(0, IMAGES, 3):  # each with its neighbours
        tab.evaluate(f"() => document.getElementById('image-{place}').scrollIntoView()")
        tab.wait_for_timeout(30)
    tab.evaluate("() => document.getElementById('image-500').scrollIntoView()")
    wait_until_painted(tab, "#image-500 canvas")
    assert drawn(tab) < DRAWN
    assert heap(tab) < HEAP
    assert slider.evaluate(SLIDE) < REDRAWN


def wait_until_painted(tab, css):
    wait_until(
        tab, f"() => {{ const one = document.querySelector('{css}'); return one && ({TOTAL})(one) > 0; }}"
    )


# sum of red, green, blue and alpha over a canvas: 0 while nothing is painted
TOTAL = """(canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data
  .reduce((sum, value) => sum + value, 0)"""
