"""Pages are opened from disk in the installed Chromium; whatever goes wrong there fails the test."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import PAINTED, READY, Watch, wait_until
from playwright.sync_api import Browser, Page, expect
from report_pages import explanation_page
from viewing import ODD, show

from xai.report import payload, write_page

HERE = Path(__file__).parent
PATIENCE = 60_000  # ms; a machine that is busy with other tests is slow, not wrong
expect.set_options(timeout=PATIENCE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("browser")


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """`opener`, for one test."""
    yield from opener(browser, tmp_path)


@pytest.fixture(scope="module")
def open_once(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Page]]:
    """`opener`, for the tests of a file that leave the page as it was."""
    yield from opener(browser, tmp_path_factory.mktemp("pages"))


def opener(browser: Browser, folder: Path) -> Iterator[Callable[..., Page]]:
    """Opens a page; the test fails on any request, console error or warning, page error, policy violation.

    `open_page(page, width=1280, height=900, color_scheme="light", device_scale_factor=1, wait_ready=True,
    controls=True, hash="", tolerate=(), **context)`: `page` is a payload or a written file, `controls` says
    whether a benchmark's images and the controls above images are unfolded, `tolerate` texts of findings that
    the test expects, `context` further options of `Browser.new_context`.
    """
    watches: list[Watch] = []

    def opened(
        page: payload.Page | str | os.PathLike[str],
        *,
        width: int = 1280,
        height: int = 900,
        wait_ready: bool = True,
        controls: bool = True,
        hash: str = "",
        tolerate: tuple[str, ...] = (),
        **context: Any,
    ) -> Page:
        path = _written(page, folder / f"page_{len(watches)}.html")
        options = {"color_scheme": "light", "device_scale_factor": 1, "offline": True} | context
        made = browser.new_context(viewport={"width": width, "height": height}, **options)
        made.set_default_timeout(PATIENCE)
        made.grant_permissions(["clipboard-read", "clipboard-write"])
        watch = Watch(made, path.as_uri(), tolerate)
        watches.append(watch)
        tab = made.new_page()
        tab.goto(path.as_uri() + hash)
        if wait_ready:
            _wait_until_ready(tab, watch)
            if controls:
                tab.locator("#maps, #controls").evaluate_all(
                    "(all) => all.forEach((one) => { one.open = true; })"
                )
        return tab

    yield opened
    findings = [one for watch in watches for one in watch.findings()]
    for watch in watches:
        watch.context.close()
    assert not findings, "the page was not clean:\n" + "\n".join(findings)


def _written(page: payload.Page | str | os.PathLike[str], path: Path) -> Path:
    if not isinstance(page, payload.Page):
        return Path(page).resolve()
    write_page(page, path)
    return path


def _wait_until_ready(tab: Page, watch: Watch) -> None:
    try:
        tab.wait_for_selector(READY, state="attached", timeout=PATIENCE)
        wait_until(tab, PAINTED)
    except Exception as error:
        raise AssertionError("the page never got ready:\n" + "\n".join(watch.findings())) from error


@pytest.fixture
def explained(open_page):
    page = explanation_page(2)
    tab = open_page(page)
    show(tab, ODD)
    return page, tab
