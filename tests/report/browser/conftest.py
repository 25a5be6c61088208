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
CHOSEN = """() => [...document.querySelectorAll(":is(#fields, #list-fields) :is(input, select)")]
  .map((one) => (["checkbox", "radio"].includes(one.type) ? `${one.checked}` : one.value))
  .concat([...document.querySelectorAll(".readout")].map((one) => one.textContent))"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("browser")


@pytest.fixture(scope="module")
def file_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[payload.Page], Path]:
    """The file of a payload, which is written once for all tests that open the same object."""
    folder = tmp_path_factory.mktemp("pages")
    known: dict[int, tuple[payload.Page, Path]] = {}  # with the payload, whose id nothing else gets so

    def write(page: payload.Page) -> Path:
        if id(page) not in known:
            path = folder / f"page_{len(known)}.html"
            write_page(page, path)
            known[id(page)] = page, path
        return known[id(page)][1]

    return write


@pytest.fixture
def open_page(browser: Browser, file_of: Callable[[payload.Page], Path]) -> Iterator["Opener"]:
    """Opens pages for one test."""
    opener = Opener(browser, file_of)
    yield opener
    opener.close()


@pytest.fixture(scope="module")
def openers() -> list["Opener"]:
    """Those whose pages stay open from test to test."""
    return []


@pytest.fixture(scope="module")
def open_once(
    browser: Browser, file_of: Callable[[payload.Page], Path], openers: list["Opener"]
) -> Iterator["Opener"]:
    """Opens pages for all tests of a file, which leave them as they were or put them back."""
    opener = Opener(browser, file_of)
    openers.append(opener)
    yield opener
    openers.remove(opener)
    opener.close()


@pytest.fixture(autouse=True)
def clean(openers: list["Opener"]) -> Iterator[None]:
    """What goes wrong on a page that tests share fails the test during which it did."""
    yield
    for opener in openers:
        opener.check()


class Opener:
    """Opens pages; any request, console error or warning, page error, policy violation is a failure."""

    def __init__(self, browser: Browser, file_of: Callable[[payload.Page], Path]) -> None:
        self.browser = browser
        self.file_of = file_of
        self.watches: list[Watch] = []

    def __call__(
        self,
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
        """Open a page in a context of its own.

        Args:
            page: A payload, or a written file.
            controls: Whether a benchmark's images and the controls above images are unfolded.
            tolerate: Texts of findings that the test expects.
            context: Further options of `Browser.new_context`.
        """
        path = self.file_of(page) if isinstance(page, payload.Page) else Path(page).resolve()
        options = {"color_scheme": "light", "device_scale_factor": 1, "offline": True} | context
        made = self.browser.new_context(viewport={"width": width, "height": height}, **options)
        made.set_default_timeout(PATIENCE)
        made.grant_permissions(["clipboard-read", "clipboard-write"])
        watch = Watch(made, path.as_uri(), tolerate)
        self.watches.append(watch)
        tab = made.new_page()
        tab.goto(path.as_uri() + hash)
        if wait_ready:
            _wait_until_ready(tab, watch)
            if controls:
                tab.locator("#maps, #controls").evaluate_all(
                    "(all) => all.forEach((one) => { one.open = true; })"
                )
        return tab

    def check(self) -> None:
        """Fail if anything went wrong since the last check."""
        findings = [one for watch in self.watches for one in watch.findings()]
        assert not findings, "the page was not clean:\n" + "\n".join(findings)

    def shut(self, tab: Page) -> None:
        """Close a page before the others."""
        self.check()
        tab.context.close()
        self.watches = [one for one in self.watches if one.context is not tab.context]

    def close(self) -> None:
        """Check for the last time."""
        try:
            self.check()
        finally:
            for watch in self.watches:
                watch.context.close()


def _wait_until_ready(tab: Page, watch: Watch) -> None:
    try:
        tab.wait_for_selector(READY, state="attached", timeout=PATIENCE)
        wait_until(tab, PAINTED)
    except Exception as error:
        raise AssertionError("the page never got ready:\n" + "\n".join(watch.findings())) from error


@pytest.fixture(scope="module")
def explanation(open_once: Opener) -> tuple[payload.Page, Page, list[str]]:
    """A page of two images, as it opens, and what its controls say then."""
    page = explanation_page(2)
    tab = open_once(page)
    show(tab, ODD)
    return page, tab, tab.evaluate(CHOSEN)


@pytest.fixture
def explained(explanation: tuple[payload.Page, Page, list[str]]) -> tuple[payload.Page, Page]:
    """The same for each test: the odd image as it is shown at first."""
    page, tab, chosen = explanation
    tab.mouse.move(0, 0)
    tab.evaluate("() => { document.activeElement.blur(); document.getElementById('reset').click(); }")
    show(tab, ODD)
    assert tab.evaluate(CHOSEN) == chosen, "the page is not as it was opened"
    return page, tab
