"""Hundreds of images × 14 rows: light enough to send, and no more is held than what is in view.

How quick such a page is under the hand, `benchmarks/report_page.py` measures.
"""

import pytest
from browsing import SLIDE, drawn, heap, wait_until
from playwright.sync_api import expect
from report_pages import big_page

from xai.report import write_page

IMAGES = 300
HEAVIEST = 15e6  # bytes
HEAP = 120  # megabytes, after every image came into view
DRAWN = 60  # megapixels of canvas that are kept at once


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("big") / "page.html"
    write_page(big_page(IMAGES), path)
    return path


def test_many_images(open_page, written):
    """One test, so that the page is built and read once."""
    assert written.stat().st_size < HEAVIEST
    tab = open_page(written)
    tab.get_by_label("All below one another").check()
    assert drawn(tab) < DRAWN

    tab.evaluate(f"() => document.getElementById('image-{IMAGES - 1}').scrollIntoView()")
    last = tab.locator(f"#image-{IMAGES - 1} canvas[aria-label^=Evidence]").first
    expect(last).to_be_in_viewport()
    wait_until_painted(tab, f"#image-{IMAGES - 1} canvas")

    slider = tab.get_by_role("slider", name="opacity")
    slider.focus()  # the bar that sticks to the top
    before = last.evaluate(TOTAL)
    slider.evaluate(SLIDE)
    assert last.evaluate(TOTAL) != before

    for place in range(0, IMAGES, 6):  # each with its neighbours
        tab.evaluate(f"() => document.getElementById('image-{place}').scrollIntoView()")
        tab.wait_for_timeout(30)
    tab.evaluate("() => document.getElementById('image-150').scrollIntoView()")
    wait_until_painted(tab, "#image-150 canvas")
    assert drawn(tab) < DRAWN
    assert heap(tab) < HEAP
    slider.evaluate(SLIDE)
    assert drawn(tab) < DRAWN


def wait_until_painted(tab, css):
    wait_until(
        tab, f"() => {{ const one = document.querySelector('{css}'); return one && ({TOTAL})(one) > 0; }}"
    )


# sum of red, green, blue and alpha over a canvas: 0 while nothing is painted
TOTAL = """(canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data
  .reduce((sum, value) => sum + value, 0)"""
