import signal
from collections.abc import Callable, Iterator
from threading import Thread

import pytest
from browsing import READY
from playwright.sync_api import Browser, Page, expect
from serve_pages import PATIENCE, Watched, waiting
from serving import Heard, tiny_bench

from xai.serve import Limits, PageServer, ServeSettings
from xai.serve.workbench import Workbench

expect.set_options(timeout=PATIENCE)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture(scope="session")
def shared() -> Iterator[tuple[Workbench, Heard]]:
    """A workbench with its model loaded, which takes its time, and what it tells."""
    heard = Heard()
    made = tiny_bench(heard)
    yield made, heard
    made.close()


@pytest.fixture
def bench(shared, heard) -> Iterator[Workbench]:
    """The shared workbench without images; it tells `heard`, as if it were new."""
    made, told = shared
    told.clear()
    told.follower = heard
    yield made
    for image in list(made.images):
        made.remove(image)
    made.files.clear()
    told.follower = None


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    """The page of two tiny models, "tiny" and "three"."""
    models = {"tiny": waiting, "three": lambda: waiting(("a", "b", "c"))}
    made = PageServer(models, ServeSettings(), Limits(megabytes=1))
    thread = Thread(target=made.serve_page, daemon=True)
    thread.start()
    yield made
    made.handle_exit(signal.SIGINT, None)
    thread.join(30)
    assert not thread.is_alive(), "the server does not end"


@pytest.fixture
def open_page(browser: Browser, server: PageServer) -> Iterator[Callable[..., Page]]:
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
