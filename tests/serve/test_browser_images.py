"""The page in Chromium: what is given to it, by whatever way; models, methods, theme; strangers; axe."""

import json
import re
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browsing import COLOURS, axe, described, unnamed, untried
from playwright.sync_api import expect
from serve_pages import METHOD, give, pressed, stroke, unfold
from serving import HOSTILE, png
from tiny_detector import photo

from xai.data import shipped_samples

pytestmark = pytest.mark.browser
FOLDED = "test_browser_images.py::test_a_folder_gives_its_images"
MODELS = "test_browser_images.py::test_another_model_is_loaded_in_its_place"
HOSTILE_FILE = "test_browser_images.py::test_a_hostile_file_is_one_clear_message_and_the_page_goes_on"
USED = "test_browser_images.py::test_everybody_can_use_it_and_nothing_is_cut_off"
COMES = "test_browser_brushing.py::test_an_image_is_explained_as_it_comes_and_work_is_cancelled"
BRUSHED = "test_browser_brushing.py::test_brushing_changes_the_score_and_random_regions_stand_beside_it"
RESTORED = "test_browser_brushing.py::test_restoring_widths_keys_and_the_strongest_patches"
SAVED = "test_browser_brushing.py::test_picture_page_and_configuration_are_saved"
CONTROLS = {
    "a.skip": USED,
    "#theme input": USED,
    "#dismiss": HOSTILE_FILE,
    "#entry > summary": MODELS,
    "#choose-files, #files": HOSTILE_FILE,
    "#choose-folder, #folder": FOLDED,
    "#add-shipped": FOLDED,
    "#model": MODELS,
    "#likely input": MODELS,
    "#more-methods > summary": MODELS,
    "#all-methods input": MODELS,
    "#explain": MODELS,
    "#list .thumb": FOLDED,
    "#list .remove": FOLDED,
    "#canvas": RESTORED,
    "#mode input": RESTORED,
    "#width input": RESTORED,
    "#under": COMES,
    "#undo": BRUSHED,
    "#clear": RESTORED,
    "#target": BRUSHED,
    "#compare": BRUSHED,
    "#draws": BRUSHED,
    "#seed": BRUSHED,
    ".map-head button": SAVED,
    ".take": RESTORED,
    "#name": HOSTILE_FILE,
    "#save-picture": SAVED,
    "#save-page": SAVED,
    "#save-pages": SAVED,
    "#cancel": COMES,
}
"""Whatever can be used on the page, and the test that uses it; a drop, which has no element, has its own."""


def test_a_hostile_file_is_one_clear_message_and_the_page_goes_on(open_page):
    tab = open_page(tolerate=["Failed to load resource: the server responded with a status of 422"])
    names = ["truncated.png", "huge.png", "text.png"]
    files = [{"name": name, "mimeType": "image/png", "buffer": HOSTILE[name]()} for name in names]
    good = {"name": "good.png", "mimeType": "image/png", "buffer": png(photo(0))}
    pressed(tab, "Choose images", [*files, good])
    expect(tab.get_by_role("heading", name="good.png")).to_be_visible()
    said = tab.locator("#failures li").all_inner_texts()
    assert [one.partition(": ")[0] for one in said] == names
    assert "truncated" in said[0]
    assert "megapixels" in said[1]
    assert "not an image" in said[2]
    expect(tab.locator("#list li")).to_have_count(1)
    unfold(tab)
    expect(tab.locator("#arriving")).to_have_text("3 of 4 could not be taken.")
    tab.get_by_role("button", name="Dismiss").click()
    expect(tab.get_by_role("alert")).to_be_hidden()
    expect(tab.locator("#name")).to_be_focused()


def test_names_are_text_and_large_files_are_not_sent(open_page):
    tab = open_page()
    name = "<img src=x onerror=alert(1)>.png"
    tab.locator("#files").set_input_files({"name": name, "mimeType": "image/png", "buffer": png(photo(0))})
    expect(tab.get_by_role("heading", name=name)).to_be_visible()
    tab.locator("#files").set_input_files(
        {"name": "large.png", "mimeType": "image/png", "buffer": bytes(1_000_001)}
    )
    expect(tab.get_by_role("alert")).to_contain_text("large.png: larger than 1 MB.")


def test_a_folder_gives_its_images(open_page, tmp_path):
    for seed in range(2):
        (tmp_path / "sub").mkdir(exist_ok=True)
        photo(seed).save(tmp_path / "sub" / f"{seed}.png")
    (tmp_path / "notes.txt").write_text("no image")
    tab = open_page()
    pressed(tab, "Choose a folder", tmp_path)
    expect(tab.locator("#list li")).to_have_count(2)
    assert tab.locator(".thumb-name").all_inner_texts() == ["0.png", "1.png"]
    # another image of the list is worked on
    tab.locator(".thumb").nth(1).click()
    expect(tab.get_by_role("heading", name="1.png")).to_be_visible()
    tab.get_by_role("button", name="Remove 1.png").click()
    expect(tab.get_by_role("heading", name="0.png")).to_be_visible()
    # the shipped examples come behind what there is, once; no method is chosen, so none is explained
    unfold(tab)
    tab.get_by_role("checkbox", name=METHOD).uncheck()
    shipped = sorted(shipped_samples(), key=lambda one: one.label or "")
    for _ in range(2):
        tab.get_by_role("button", name="Shipped examples").click()
        expect(tab.locator("#list li")).to_have_count(1 + len(shipped))
    assert tab.locator(".thumb-name").all_inner_texts()[1:] == [one.id for one in shipped]
    tab.locator(".thumb").last.click()
    expect(tab.locator("#verdict")).to_contain_text("true class: real")


ASK = """async ([url, method]) => {
  try {
    return (await fetch(url, { method, mode: "no-cors" })).type;
  } catch (error) {
    return error.name;
  }
}"""
FRAME = """(url) => new Promise((done) => {
  const frame = document.createElement("iframe");
  frame.onload = () => done(true);
  frame.src = url;
  document.body.append(frame);
})"""


def test_what_is_dropped_is_taken(open_page, tmp_path):
    """A file, and a folder, dragged in by the browser itself."""
    (tmp_path / "folder" / "within").mkdir(parents=True)
    photo(0).save(tmp_path / "folder" / "within" / "inside.png")
    photo(1).save(tmp_path / "dropped.png")
    (tmp_path / "folder" / "notes.txt").write_text("no image")
    tab = open_page()
    drop = tab.locator("#drop")
    box = drop.bounding_box()
    session = tab.context.new_cdp_session(tab)

    def drag(kind, path):
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        place = {"x": box["x"] + 9, "y": box["y"] + 9}
        session.send("Input.dispatchDragEvent", {"type": kind, **place, "data": data})

    drag("dragEnter", tmp_path / "dropped.png")
    drag("dragOver", tmp_path / "dropped.png")
    expect(drop).to_have_class(re.compile("over"))
    tab.evaluate(
        "() => { document.dispatchEvent(new DragEvent('dragleave')); }"
    )  # none comes by the protocol
    expect(drop).not_to_have_class(re.compile("over"))
    for kind in ("dragEnter", "dragOver", "drop"):
        drag(kind, tmp_path / "dropped.png")
    expect(tab.get_by_role("heading", name="dropped.png")).to_be_visible()
    expect(drop).not_to_have_class(re.compile("over"))
    for kind in ("dragEnter", "dragOver", "drop"):  # beside the field, which is folded by now
        drag(kind, tmp_path / "folder")
    expect(tab.locator(".thumb-name")).to_have_text(["dropped.png", "inside.png"])


def test_another_model_is_loaded_in_its_place(open_page):
    """And any of the methods that work on it is chosen."""
    tab = open_page()
    give(tab, 0)
    unfold(tab)
    explain, cost = tab.get_by_role("button", name="Explain", exact=True), tab.locator("#cost")
    expect(explain).to_be_disabled()
    tab.get_by_role("checkbox", name=METHOD).uncheck()
    expect(cost).to_have_text("Choose a method.")
    tab.locator("#more-methods > summary").click()
    tab.locator("#all-methods").get_by_label("LeGrad").check()
    expect(cost).to_contain_text("with about 2 passes through the model each")
    explain.click()
    expect(tab.locator(".map-row h3")).to_have_text([METHOD, "LeGrad"])
    tab.get_by_label("Model", exact=True).select_option("three")
    expect(tab.locator("#model-words")).to_have_text("Model tiny · 3 classes · on cpu")
    expect(tab.locator(".map-row figure")).to_have_count(2)
    assert set(tab.locator("#target option").all_inner_texts()) == {"a", "b", "c"}
    unfold(tab)
    tab.get_by_label("Model", exact=True).select_option("tiny")
    expect(tab.locator("#target option")).to_have_count(2)


def test_a_page_that_is_opened_again_shows_what_there_is(open_page):
    tab = open_page()
    give(tab, 0)
    tab.reload()
    expect(tab.locator(".map-row figure")).to_have_count(2)
    other = tab.context.new_page()
    other.goto(tab.url)
    expect(other.locator(".map-row figure")).to_have_count(2)
    tab.locator("#list .remove").click()
    expect(other.locator("#list li")).to_have_count(0)
    other.close()


def test_a_wrong_token_gives_nothing(browser, server):
    context = browser.new_context()
    tab = context.new_page()
    answer = tab.goto(server.address[:-2] + "/")
    assert answer is not None
    assert answer.status == 403
    assert tab.locator("body").inner_text().startswith("The address is not complete")
    context.close()


def test_a_page_of_a_stranger_can_neither_ask_nor_read(browser, server):
    context = browser.new_context()
    tab = context.new_page()
    tab.route("http://stranger.test/**", lambda route: route.fulfill(body="<p>", content_type="text/html"))
    tab.goto("http://stranger.test/")
    # refused: a resource of another origin may not be read
    assert tab.evaluate(ASK, [server.address, "GET"]) == "TypeError"
    tab.evaluate(ASK, [server.address + "shipped", "POST"])
    tab.evaluate(FRAME, server.address)
    assert not any(frame.url == server.address and frame.query_selector("#drop") for frame in tab.frames)
    context.close()
    connection, address = HTTPConnection("127.0.0.1", urlsplit(server.address).port), urlsplit(server.address)
    connection.request("GET", address.path + "events")
    line = connection.getresponse().readline()
    assert json.loads(line.removeprefix(b"data: "))["images"] == []  # nothing was added
    connection.close()


def test_everybody_can_use_it_and_nothing_is_cut_off(open_page):
    """Theme, skip link, what axe finds before and after there is something to see, a phone."""
    tab = open_page(color_scheme="light")
    ground = "() => getComputedStyle(document.body).backgroundColor"
    light = tab.evaluate(ground)
    for name, as_before in (("Dark", False), ("Light", True), ("Dark", False), ("System", True)):
        tab.locator("#theme").get_by_text(name).click()
        assert (tab.evaluate(ground) == light) is as_before, name
    tab.locator("a.skip").press("Enter")
    assert tab.url.endswith("#main")
    tab.keyboard.press("Tab")  # on from there, past the theme
    expect(tab.locator("#entry > summary")).to_be_focused()
    found = axe(tab)
    assert not found, described(found)
    give(tab, 0)
    stroke(tab, (0.3, 0.2), (0.55, 0.2))
    tab.get_by_role("button", name="Compare with random regions").click()
    expect(tab.locator("#strip .dot")).to_have_count(19)
    unfold(tab)
    tab.locator("#more-methods summary").click()
    assert not unnamed(tab)
    assert untried(tab, CONTROLS, Path(__file__).parent) == []
    found = axe(tab)
    assert not found, described(found)
    tab.emulate_media(color_scheme="dark")
    found = axe(tab, runOnly=COLOURS)
    assert not found, described(found)
    tab.set_viewport_size({"width": 390, "height": 844})
    found = axe(tab, rules={name: {"enabled": False} for name in COLOURS})
    assert not found, described(found)
    assert tab.evaluate("() => document.documentElement.scrollWidth") <= 390
