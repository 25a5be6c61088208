"""What tests of the local page do with it in Chromium: give images, paint, save."""

from pathlib import Path
from threading import Event
from typing import Any

from browsing import Watch
from playwright.sync_api import Page, expect
from serving import png
from tiny_detector import classifier, photo

PATIENCE = 60_000  # ms
METHOD = "integrated mask gradient (faithful)"
GATE = Event()
"""While it is not set, models wait at their forward passes."""
GATE.set()


def waiting(labels: tuple[str, ...] = ("real", "fake")):
    """The tiny detector, which passes the gate before it answers."""
    made = classifier(labels)
    made.register_forward_pre_hook(lambda *_: GATE.wait(PATIENCE / 1000) and None)
    return made


class Watched(Watch):
    """A page that may ask its own server, and nobody else."""

    def _request(self, url: str) -> None:
        if not url.startswith(self.allowed) and not url.startswith("data:"):
            self.found.append(f"request: {url}")


def pressed(tab: Page, button: str, files: Any) -> None:
    """Press a button that asks for files, and give it some."""
    with tab.expect_file_chooser() as asked:
        tab.get_by_role("button", name=button, exact=True).click()
    asked.value.set_files(files)


def give(tab: Page, *seeds: int, name: str = "photo") -> None:
    """Choose images, and wait for the maps of the first."""
    files = [
        {"name": f"{name}-{seed}.png", "mimeType": "image/png", "buffer": png(photo(seed, (64, 48)))}
        for seed in seeds
    ]
    pressed(tab, "Choose images", files)
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
    assert box is not None
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    tab.mouse.move(*points[0])
    tab.mouse.down()
    for point in points[1:]:
        tab.mouse.move(*point, steps=4)
    tab.mouse.up()


def saved(tab: Page, button: str, folder: Path) -> Path:
    """What a button hands over, in a folder."""
    with tab.expect_download() as found:
        tab.get_by_role("button", name=button).click()
    path = folder / found.value.suggested_filename
    found.value.save_as(path)
    return path
