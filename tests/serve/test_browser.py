"""The page in Chromium: drop, see, brush, compare, save; hostile files; what a screen reader's user meets."""

import json
import re
import signal
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import numpy as np
import pytest
from browsing import READY, Watch, axe, described, pixels, unnamed
from playwright.sync_api import Page, expect
from serving import HOSTILE, png
from tiny_detector import classifier, photo

from xai.explanation import read_method_file
from xai.serve import Limits, PageServer, ServeSettings

pytestmark = pytest.mark.browser
PATIENCE = 60_000  # ms
expect.set_options(timeout=PATIENCE)
METHOD = "integrated mask gradient (faithful)"


@pytest.fixture(scope="module")
def server():
    made = PageServer(
        {"tiny": classifier, "three": lambda: classifier(("a", "b", "c"))},
        ServeSettings(),
        Limits(megabytes=1),
    )
    thread = Thread(target=made.serve_page, daemon=True)
    thread.start()
    yield made
    made.handle_exit(signal.SIGINT, None)
    thread.join(30)
    assert not thread.is_alive(), "the server does not end"


class Watched(Watch):
    """A page that may ask its own server, and nobody else."""

    def _request(self, url: str) -> None:
        if not url.startswith(self.allowed) and not url.startswith("data:"):
            self.found.append(f"request: {url}")


@pytest.fixture
def open_page(browser, server):
    """Opens the page without images; fails the test on any other request, console error or violation."""
    watches: list[Watched] = []

    def opened(width=1280, height=900, tolerate=(), **options) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(PATIENCE)
        watches.append(Watched(context, server.address, tolerate))
        tab = context.new_page()
        tab.goto(server.address)
        tab.wait_for_selector(READY, state="attached")
        expect(tab.locator("#likely input").first).to_be_attached(timeout=PATIENCE)
        return tab

    yield opened
    findings = [one for watch in watches for one in watch.findings()]
    for watch in watches:
        for tab in watch.context.pages:
            tab.evaluate("() => document.querySelectorAll('#list .remove').forEach((one) => one.click())")
            expect(tab.locator("#list li")).to_have_count(0)
        watch.context.close()
    assert not findings, "\n".join(findings)


def give(tab: Page, *seeds: int, name: str = "photo") -> None:
    """Choose images, and wait for the maps of the first."""
    files = [
        {"name": f"{name}-{seed}.png", "mimeType": "image/png", "buffer": png(photo(seed, (64, 48)))}
        for seed in seeds
    ]
    tab.locator("#files").set_input_files(files)
    expect(tab.locator("#list li")).to_have_count(len(seeds))
    expect(tab.locator(".map-row figure")).to_have_count(2)


def unfold(tab: Page) -> None:
    """Show the choices again, which fold up when the first image comes."""
    expect(tab.locator("#entry")).not_to_have_attribute("open", "")
    tab.locator("#entry > summary").click()


def stroke(tab: Page, *places: tuple[float, float]) -> None:
    """Drag over the image, through places in shares of its width and height."""
    tab.locator("#canvas").scroll_into_view_if_needed()
    box = tab.locator("#canvas").bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    tab.mouse.move(*points[0])
    tab.mouse.down()
    for point in points[1:]:
        tab.mouse.move(*point, steps=4)
    tab.mouse.up()


def test_an_image_is_explained_as_it_comes_and_fake_stands_before_real(open_page):
    tab = open_page()
    give(tab, 0)
    expect(tab.get_by_role("heading", name="photo-0.png")).to_be_visible()
    titles = tab.locator(".map-row figcaption strong").all_inner_texts()
    assert titles == ["fake", "real"]
    assert tab.locator(".map-row h3").all_inner_texts() == [METHOD]
    captions = tab.locator(".map-row figcaption").all_inner_texts()
    shares = [float(text.split()[-1].strip("%")) for text in captions]
    assert sum(shares) == pytest.approx(100, abs=0.11)
    painted = pixels(tab.locator("canvas.map").first)[..., :3].astype(int)
    assert np.ptp(painted, axis=-1).max() > 30  # colours, not the grey photograph alone
    unfold(tab)
    tab.get_by_label("attention rollout").check()
    tab.get_by_role("button", name="Explain", exact=True).click()
    expect(tab.locator(".map-row")).to_have_count(2)
    expect(tab.get_by_role("button", name="Explain", exact=True)).to_be_disabled()


def test_brushing_changes_the_score_and_random_regions_stand_beside_it(open_page):
    tab = open_page()
    give(tab, 0)
    before = pixels(tab.locator("#canvas"))
    clean = tab.locator("#numbers .was").inner_text()
    expect(tab.get_by_role("button", name="Compare with random regions")).to_be_disabled()
    stroke(tab, (0.3, 0.2), (0.55, 0.2))  # of 64 pixels the model saw 8 to 56
    expect(tab.locator("#removed")).to_contain_text("3 of 16 patches removed (18.8%).")
    expect(tab.locator("#removed")).to_contain_text("truly absent")
    expect(tab.locator("#numbers strong")).to_be_visible()
    assert tab.locator("#numbers .was").inner_text() == clean
    assert (pixels(tab.locator("#canvas")) != before).any()
    tab.get_by_role("button", name="Compare with random regions").click()
    expect(tab.locator("#strip .dot")).to_have_count(19)
    first = tab.locator("#finding").inner_text()
    assert re.search(r"\d+ of 19 random regions of the same size .* \(p = [\d.]+, seed 0\)", first)
    label = tab.locator("#strip svg").get_attribute("aria-label")
    assert label.startswith("Margin of fake" if "fake" in label else "Margin of real")
    # the same seed again: the same regions
    dots = tab.locator("#strip").inner_html()
    tab.get_by_role("button", name="Compare with random regions").click()
    expect(tab.locator("#strip .dot")).to_have_count(19)
    assert tab.locator("#strip").inner_html() == dots
    tab.get_by_label("Seed").fill("7")
    tab.get_by_role("button", name="Compare with random regions").click()
    expect(tab.locator("#finding")).to_contain_text("seed 7")
    # what was compared is not said of another region
    tab.get_by_role("button", name="Undo").click()
    expect(tab.locator("#removed")).to_have_text("Nothing is removed yet.")
    expect(tab.locator("#strip")).to_be_hidden()
    assert (pixels(tab.locator("#canvas")) == before).all()


def test_restoring_widths_keys_and_the_strongest_patches(open_page):
    tab = open_page()
    give(tab, 0)
    removed = tab.locator("#removed")
    tab.locator("#width").get_by_text("3").click()
    stroke(tab, (0.4, 0.4), (0.4, 0.4))
    expect(removed).to_contain_text("9 of 16")
    expect(tab.locator("#finding")).to_contain_text("More than a third")
    expect(tab.get_by_role("button", name="Compare with random regions")).to_be_disabled()
    tab.locator("#mode").get_by_text("Restore").click()
    tab.locator("#width").get_by_text("1", exact=True).click()
    stroke(tab, (0.4, 0.4), (0.4, 0.4))
    expect(removed).to_contain_text("8 of 16")
    tab.get_by_role("button", name="Clear").click()
    expect(removed).to_have_text("Nothing is removed yet.")
    tab.locator("#mode").get_by_text("Remove").click()
    canvas = tab.locator("#canvas")
    canvas.focus()
    for key in ("ArrowUp", "ArrowUp", "ArrowLeft", " "):
        canvas.press(key)
    expect(tab.locator("#where")).to_have_text("row 2, column 2: removed")
    expect(removed).to_contain_text("1 of 16")
    # outside of what the model saw there is nothing to take away
    stroke(tab, (0.02, 0.5), (0.05, 0.9))
    expect(removed).to_contain_text("1 of 16")
    tab.get_by_role("button", name="Remove the strongest 10% of the patches for real").click()
    expect(removed).to_contain_text("2 of 16")
    expect(tab.get_by_label("Score of")).to_have_value("real")


def test_a_hostile_file_is_one_clear_message_and_the_page_goes_on(open_page):
    tab = open_page(tolerate=["Failed to load resource: the server responded with a status of 422"])
    names = ["truncated.png", "huge.png", "text.png"]
    files = [{"name": name, "mimeType": "image/png", "buffer": HOSTILE[name]()} for name in names]
    good = {"name": "good.png", "mimeType": "image/png", "buffer": png(photo(0))}
    tab.locator("#files").set_input_files([*files, good])
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
    tab.locator("#folder").set_input_files(tmp_path)
    expect(tab.locator("#list li")).to_have_count(2)
    assert tab.locator(".thumb-name").all_inner_texts() == ["0.png", "1.png"]
    # another image of the list is worked on
    tab.locator(".thumb").nth(1).click()
    expect(tab.get_by_role("heading", name="1.png")).to_be_visible()
    tab.get_by_role("button", name="Remove 1.png").click()
    expect(tab.get_by_role("heading", name="0.png")).to_be_visible()


DATA = """(bytes) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
  return data;
}"""
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


def test_what_is_dropped_is_taken(open_page):
    tab = open_page()
    data = tab.evaluate_handle(DATA, list(png(photo(0))))
    tab.locator("#drop").dispatch_event("drop", {"dataTransfer": data})
    expect(tab.get_by_role("heading", name="dropped.png")).to_be_visible()


def saved(tab: Page, button: str, folder: Path) -> Path:
    with tab.expect_download() as found:
        tab.get_by_role("button", name=button).click()
    path = folder / found.value.suggested_filename
    found.value.save_as(path)
    return path


def test_picture_page_and_configuration_are_saved(open_page, tmp_path):
    tab = open_page()
    give(tab, 0, 1, name="照片")
    picture = saved(tab, "Picture of these maps", tmp_path)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.name.startswith("照片-0")
    configuration = read_method_file(saved(tab, f"Save the configuration of {METHOD}", tmp_path))
    assert configuration.method == "integrated_mask_gradient"
    page = saved(tab, "Page of all images", tmp_path)
    text = page.read_text("utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "照片-0.png" in text
    assert "照片-1.png" in text


def test_another_model_is_loaded_in_its_place(open_page):
    tab = open_page()
    give(tab, 0)
    unfold(tab)
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


def test_axe_finds_nothing_and_nothing_is_cut_off(open_page):
    tab = open_page()
    found = axe(tab)
    assert not found, described(found)
    give(tab, 0)
    stroke(tab, (0.3, 0.2), (0.55, 0.2))
    tab.get_by_role("button", name="Compare with random regions").click()
    expect(tab.locator("#strip .dot")).to_have_count(19)
    unfold(tab)
    tab.locator("#more-methods summary").click()
    assert not unnamed(tab)
    for width in (1280, 390):
        tab.set_viewport_size({"width": width, "height": 844})
        for scheme in ("light", "dark"):
            tab.emulate_media(color_scheme=scheme)
            found = axe(tab)
            assert not found, f"{width} {scheme}: {described(found)}"
        assert tab.evaluate("() => document.documentElement.scrollWidth") <= width
