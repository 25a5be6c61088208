"""Explanations in a notebook: the frame of a cell's output paints, and keeps to itself."""

import numpy as np
import pytest
from browsing import READY, Watch, pixels
from PIL import Image

from xai.core import Explanation, Geometry, Sample
from xai.report import to_frame

NOTEBOOK = """<!DOCTYPE html><html lang="en"><head><title>Notebook</title>
<style>canvas {{ display: none }} h1 {{ color: red }}</style></head>
<body><h1>Cells</h1><div class="output">{output}</div><p id="after">After.</p></body></html>"""
LOOKS = """() => ({
  title: document.title, theme: document.documentElement.dataset.theme ?? null, hash: location.hash,
  globals: Object.keys(window).length, children: document.body.children.length,
  after: getComputedStyle(document.getElementById("after")).cssText,
})"""


@pytest.fixture
def explanation():
    values = np.zeros((4, 4), np.float32)
    values[1, 2] = 1
    return Explanation(
        Sample("x", Image.new("RGB", (256, 256), (120, 120, 120))),
        ('real "</script>', "fake's & <b>"),
        np.array([0.5, 2.0], np.float32),
        {'real "</script>': values * 0.25, "fake's & <b>": values},
        Geometry((256, 256), (0, 0, 256, 256)),
        "gradient_weighted_attention",
        {"layers": "last_4_layers"},
    )


@pytest.fixture
def notebook(browser, tmp_path):
    made = []

    def opened(output):
        path = tmp_path / "notebook.html"
        path.write_text(NOTEBOOK.format(output=output), "utf-8")
        context = browser.new_context(viewport={"width": 1000, "height": 900}, offline=True)
        made.append(Watch(context, path.as_uri()))
        tab = context.new_page()
        tab.goto(path.as_uri())
        return tab

    yield opened
    findings = [one for watch in made for one in watch.findings()]
    for watch in made:
        watch.context.close()
    assert not findings, "\n".join(findings)


def test_a_cell_s_output_paints(notebook, explanation):
    tab = notebook(explanation._repr_html_())
    frame = tab.frame_locator("iframe")
    frame.locator(READY).wait_for(state="attached", timeout=30_000)
    hot = frame.get_by_role("img", name="Evidence for fake's & <b>").first
    hot.wait_for()
    tab.wait_for_timeout(300)
    painted = pixels(hot)[..., :3].astype(int)
    colourful = np.ptp(painted, axis=-1) > 60
    rows, cols = np.nonzero(colourful)
    height, width = colourful.shape
    assert rows.mean() / height == pytest.approx(1.5 / 4, abs=0.05)
    assert cols.mean() / width == pytest.approx(2.5 / 4, abs=0.05)


def test_controls_work_in_the_frame_and_nothing_leaks_out(notebook, explanation):
    tab = notebook(to_frame(explanation) + to_frame(explanation))
    frames = [tab.frame_locator("iframe").nth(place) for place in range(2)]
    before = tab.evaluate(LOOKS)
    for frame in frames:
        frame.locator(READY).wait_for(state="attached", timeout=30_000)
    first, second = frames
    first.get_by_role("button", name="Evidence sheet").click()
    first.locator("dialog#sheet").wait_for()
    assert not second.locator("dialog#sheet").is_visible()
    assert tab.evaluate(LOOKS) == before
    assert tab.evaluate("() => { try { return !!frames[0].document; } catch { return false; } }") is False


def test_without_the_report_a_notebook_shows_the_plain_text(monkeypatch, explanation):
    monkeypatch.setattr(Explanation, "renderer", None)
    assert explanation._repr_html_() is None
