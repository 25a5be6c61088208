"""The page of a video: what the line of time shows, and that a point of it leads to its frame."""

import numpy as np
import pytest
from browsing import axe, described, grave, pixels, unnamed, wait_until
from playwright.sync_api import expect
from video_pages import video_page
from viewing import settle

LETTERS = """(svg) => {
  const [box, texts] = [svg.getBoundingClientRect(), [...svg.querySelectorAll("text")]];
  const boxes = texts.map((text) => text.getBoundingClientRect());
  const over = texts.filter((_, i) => boxes[i].left < box.left - 1 || boxes[i].right > box.right + 1);
  return [boxes.map(({ height }) => height), over.map((text) => text.textContent)];
}"""


@pytest.fixture(scope="module")
def page():
    return video_page()


@pytest.fixture(scope="module")
def opened(open_once, page):
    """For tests that choose the frame that they look at."""
    return open_once(page)


def test_the_line_of_time(opened):
    chart = opened.locator("#time-plot svg")
    expect(chart).to_have_attribute(
        "aria-label", "clip.mp4 over time: P(fake) of 9 frames, from 10.0% to 90.0%, mean 50.0%"
    )
    lines = chart.locator("polyline.series").evaluate_all(
        "(all) => all.map((one) => one.getAttribute('points').split(' ').length)"
    )
    # the probability; the agreement, which two frames lack
    assert lines == [9, 3, 4]
    probability = chart.locator("[data-series=fake] circle").evaluate_all(
        "(all) => all.map((one) => Number(one.getAttribute('cy')))"
    )
    assert np.diff(probability).max() < 0  # higher from frame to frame
    expect(opened.locator("#timeline")).to_contain_text("It may be cut off.")
    expect(opened.locator("#timeline")).to_contain_text("Steady.")


def test_the_pointer_shows_its_frame_and_a_click_leads_to_it(open_page, page):
    opened = open_page(page)
    said = opened.locator("#time-now p")
    expect(said).to_have_text("0:03.00, frame 30 · P(fake) 40.0% · agreement 0.50")
    chart = opened.locator("#time-plot svg")
    box = chart.bounding_box()
    left, right = 128 / 960, 1 - 16 / 960

    def at(seconds):
        return {"x": box["width"] * (left + (right - left) * seconds / 9), "y": 60}

    before = pixels(opened.locator(".time-pictures canvas").last)
    chart.hover(position=at(1.2))
    expect(said).to_have_text("0:01.00, frame 10 · P(fake) 20.0% · agreement 0.50")
    wait_until(opened, "() => !document.querySelector('.time-pictures canvas').hidden")
    settle(opened)
    after = pixels(opened.locator(".time-pictures canvas").last)
    assert before.shape != after.shape or (before != after).any()
    chart.click(position=at(4))
    expect(opened.locator("#image-4 h3")).to_be_in_viewport()
    chart.hover(position=at(2))
    opened.locator("#time-now a").click()  # to another one, by the link below it
    expect(opened.locator("#image-2 h3")).to_be_in_viewport()


def test_a_frame_that_the_page_does_not_hold_shows_its_neighbour(opened):
    slider = opened.get_by_role("slider", name="Frame, in the order of time")
    slider.focus()
    slider.press("End")
    said = opened.locator("#time-now p")
    expect(said).to_have_text(
        "0:08.00, frame 80 · P(fake) 90.0% · agreement 0.50 · the page holds no picture of it; shown: 0:05.00"
    )
    expect(opened.locator("#time-now a")).to_have_attribute("href", "#image-5")


def test_the_strip_leads_to_frames_and_all_share_one_scale(opened):
    tiles = opened.locator("#film button")
    expect(tiles).to_have_count(6)
    tiles.nth(2).click()
    expect(tiles.nth(2)).to_have_attribute("aria-pressed", "true")
    expect(opened.locator("#time-now p")).to_contain_text("0:02.00, frame 20")
    opened.locator("#image-0").scroll_into_view_if_needed()
    settle(opened)
    ticks = opened.locator("#image-0 .panel").nth(1).locator(".ticks").inner_text()
    assert ticks.split() == ["−1", "0", "1"]


def test_everybody_can_use_it(open_page, page):
    tab = open_page(page, color_scheme="dark")
    # on a phone the letters of the plot are as large as those beside it, and none leaves the plot
    tab.set_viewport_size({"width": 390, "height": 844})
    tab.reload()
    wait_until(tab, "() => document.documentElement.dataset.ready === 'true'")
    heights, over = tab.locator("#time-plot svg").evaluate(LETTERS)
    assert min(heights) >= 12
    assert over == []
    assert not grave(axe(tab, "#timeline")), described(axe(tab, "#timeline"))
    assert unnamed(tab) == []


def test_one_frame_is_a_video_too(open_page):
    tab = open_page(video_page(1, 1, lang="zh"))
    expect(tab.locator("#film button")).to_have_count(1)
    expect(tab.locator("#time-now p")).to_contain_text("0:00.00")
