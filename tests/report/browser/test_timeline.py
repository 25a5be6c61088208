"""The page of a video: what the line of time shows, and that a point of it leads to its frame."""

import numpy as np
import pytest
from browsing import axe, described, grave, pixels, unnamed, wait_until
from playwright.sync_api import expect
from report_pages import explanation_page
from viewing import settle

from xai.report.payload import MapFlicker, Timeline, TimelineFrame


def video_page(frames: int = 9, shown: int = 6, **changes):
    """A page of `frames` explained frames, the first `shown` of which it holds."""
    page = explanation_page(shown)
    labels = page.labels
    fake = np.linspace(0.1, 0.9, frames) if frames > 1 else np.array([0.5])
    timeline = Timeline(
        video="clip.mp4",
        seconds=float(frames),
        label=labels[1],
        limit=1.0,
        signed=True,
        frames=[
            TimelineFrame(
                number=10 * i,
                seconds=float(i),
                predicted=labels[int(p > 0.5)],
                probabilities={labels[0]: 1 - p, labels[1]: p},
                margin=float(np.log(p / (1 - p))),
                change=None if i == 0 else 0.1,
                agreement=None if i in (0, 4) else 0.5,
                parts={"nose": 0.2 + p / 5, "mouth": 0.3} if i != 2 else {},
                image=i if i < shown else None,
            )
            for i, p in enumerate(fake.tolist())
        ],
        predicted=labels[1],
        mean={labels[0]: 0.5, labels[1]: 0.5},
        median={labels[0]: 0.5, labels[1]: 0.5},
        certain=[min(3, frames - 1)],
        changing=[1] if frames > 1 else [],
        flicker=MapFlicker(
            pairs=6, mean=0.5, control=0.1, low=0.0, high=0.2, p=0.01, orders=99, verdict="Steady."
        ),
        remarks=["It may be cut off."],
    )
    return page.model_copy(update={"timeline": timeline, "fusion": None, "shown": (shown, frames), **changes})


@pytest.fixture
def opened(open_page):
    return open_page(video_page())


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


def test_the_pointer_shows_its_frame_and_a_click_leads_to_it(opened):
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


def test_everybody_can_use_it(open_page):
    tab = open_page(video_page(), color_scheme="dark")
    assert not grave(axe(tab, "#timeline")), described(axe(tab, "#timeline"))
    assert unnamed(tab) == []


def test_one_frame_is_a_video_too(open_page):
    tab = open_page(video_page(1, 1, lang="zh"))
    expect(tab.locator("#film button")).to_have_count(1)
    expect(tab.locator("#time-now p")).to_contain_text("0:00.00")
