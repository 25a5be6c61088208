"""Pages in Chromium: what went wrong while one was open, what its canvases show, what axe says."""

import os
import shutil
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Playwright, sync_playwright

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")  # the cheapest first
MISSING = "Chromium is missing: apt-get install chromium-headless-shell (or chromium)"
REQUIRED = "XAI_REQUIRE_BROWSER"
READY = "html[data-ready=true]"
# every image in view shows its panels, or says why it cannot: some frames after the page is ready
PAINTED = """() => [...document.querySelectorAll("article.image")].every((article) => {
  const { top, bottom } = article.getBoundingClientRect();
  const seen = article.checkVisibility() && top < innerHeight && bottom > 0;
  return !seen || article.querySelector(".stage").childElementCount > 0;
})"""
COLOURS = ["color-contrast", "link-in-text-block"]  # axe's rules of colours: most of its time on a large page
CONTROLS = {"button", "link", "combobox", "listbox", "slider", "checkbox", "radio", "textbox", "searchbox"}
NAMED = CONTROLS | {
    "spinbutton",
    "switch",
    "DisclosureTriangle",
    "dialog",
    "toolbar",
    "table",
    "image",
    "img",
}

# a policy violation is an event; it is kept where the page's own scripts do not look
LISTEN = """
window.__violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.__violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""
# sets a slider as a hand does, and measures until the next picture is on the screen
SLIDE = """(slider) => new Promise((done) => {
  const start = performance.now();
  slider.value = Number(slider.value) > Number(slider.max) / 2 ? slider.min : slider.max;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
})"""
PIXELS = """(canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let text = "";
  for (let i = 0; i < data.length; i += 32768) text += String.fromCharCode(...data.subarray(i, i + 32768));
  return [canvas.height, canvas.width, btoa(text)];
}"""


def executable() -> str | None:
    """Path of the installed Chromium; none is ever downloaded."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def required() -> bool:
    """Whether a missing browser is a failure: in continuous integration it is."""
    return os.environ.get(REQUIRED, "") not in ("", "0") or os.environ.get("CI", "").lower() == "true"


def chromium() -> Iterator[Browser]:
    """The installed Chromium, headless.

    Raises:
        RuntimeError: There is none.
    """
    path = executable()
    if path is None:
        raise RuntimeError(MISSING)
    with sync_playwright() as playwright:
        browser = launch(playwright, path)
        yield browser
        browser.close()


def launch(playwright: Playwright, path: str, *more: str) -> Browser:
    """Start the browser; as root its sandbox cannot be had, so only then it runs without."""
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    return playwright.chromium.launch(executable_path=path, args=[*sandbox, *more])


@dataclass
class Watch:
    """What must not happen while pages of a context are open.

    Args:
        allowed: URL of the page itself; anything else but data: and blob: is a finding.
        tolerate: Findings that hold one of these texts are expected.
    """

    context: BrowserContext
    allowed: str
    tolerate: Sequence[str] = ()
    found: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.add_init_script(LISTEN)
        self.context.on("request", lambda request: self._request(request.url))
        self.context.on("page", self._page)

    def findings(self) -> list[str]:
        """Everything since it was last asked, policy violations of pages that are still open included."""
        violations = [
            f"policy: {one}"
            for page in self.context.pages
            for one in page.evaluate("() => (window.__violations ?? []).splice(0)")
        ]
        found, self.found = self.found, []
        return [one for one in [*found, *violations] if not any(text in one for text in self.tolerate)]

    def _page(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.found.append(f"error: {error}"))
        page.on("console", self._console)
        page.on("dialog", self._dialog)
        page.on("crash", lambda _: self.found.append("crash"))

    def _request(self, url: str) -> None:
        if url.split("#")[0] != self.allowed and not url.startswith(("data:", "blob:", "about:")):
            self.found.append(f"request: {url}")

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning", "assert"):
            self.found.append(f"console {message.type}: {message.text}")

    def _dialog(self, dialog: Any) -> None:
        self.found.append(f"dialog: {dialog.message}")
        dialog.dismiss()


def wait_until(page: Page, holds: str, patience: float = 60) -> None:
    """Ask until a JavaScript function returns true.

    Playwright's `wait_for_function` evaluates text while it polls, which the pages' policy forbids.

    Raises:
        AssertionError: It was still false after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while not page.evaluate(holds):
        assert time.monotonic() < deadline, f"false for {patience} s: {holds}"
        page.wait_for_timeout(20)


def pixels(canvas: Locator) -> np.ndarray:
    """(height, width, 4) uint8 RGBA of a canvas, in its own pixels."""
    height, width, text = canvas.evaluate(PIXELS)
    return np.frombuffer(b64decode(text), np.uint8).reshape(height, width, 4)


SETTLED = """() => Promise.allSettled(document.getAnimations()
  .filter((one) => Number.isFinite(one.effect.getComputedTiming().endTime)).map((one) => one.finished))"""
"""Awaits the end of what moves: a colour on its way from light to dark has a contrast that nobody reads."""

VIOLATIONS = """([context, options]) =>
  axe.run(context ?? document, options).then(({ violations }) => violations)"""


def axe(page: Page, context: str | None = None, **options: Any) -> list[dict[str, Any]]:
    """Violations that axe finds once nothing moves any more, each with "id", "impact", "help" and "nodes".

    Args:
        context: CSS selector of a part; None for the whole page.
        options: Of axe, such as `runOnly` or `rules`.
    """
    page.evaluate(SETTLED)
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(Axe().axe_script)
    return page.evaluate(VIOLATIONS, [context, {"resultTypes": ["violations"], **options}])


def described(violations: Sequence[dict[str, Any]]) -> str:
    """Violations as text: rule, impact and the first elements of each."""
    return "\n".join(
        f"{one['id']} ({one['impact']}): {one['help']}\n"
        + "\n".join(f"    {node['target']} {node['failureSummary']}" for node in one["nodes"][:4])
        for one in violations
    )


def grave(violations: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of impact serious or critical."""
    return [one for one in violations if one["impact"] in ("serious", "critical")]


def unnamed(page: Page) -> list[str]:
    """Controls and pictures, of those the accessibility tree holds, that have no name."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    return [
        f"{node['role']['value']} (node {node.get('backendDOMNodeId')})"
        for node in nodes
        if not node.get("ignored")
        and node.get("role", {}).get("value") in NAMED
        and not node.get("name", {}).get("value", "").strip()
    ]


USABLE = "a[href], button, input, select, textarea, summary, [tabindex]"
TOLD = """([usable, told]) => [
  ...[...document.querySelectorAll(usable)].filter((one) => !told.some((css) => one.matches(css)))
    .map((one) => `in no test: ${one.outerHTML.slice(0, 120)}`),
  ...told.filter((css) => !document.querySelector(css)).map((css) => `not on the page: ${css}`),
]"""


def untried(page: Page, tried: Mapping[str, str], folder: Path) -> list[str]:
    """What can be used on a page, shown or not, and is in no test; and what is said to be tried, but is not.

    Args:
        tried: CSS selector → the test that uses what it selects, as "file.py::name".
        folder: Where the files lie.
    """
    missing = []
    for test in dict.fromkeys(tried.values()):
        file, name = test.split("::")
        if f"def {name}(" not in (folder / file).read_text("utf-8"):
            missing.append(f"no such test: {test}")
    return missing + page.evaluate(TOLD, [USABLE, list(tried)])


def drawn(page: Page) -> float:
    """Megapixels of all canvases that were ever given a size: what a browser has to keep."""
    sizes = page.evaluate(
        "() => [...document.querySelectorAll('canvas')].map(({ width, height }) => [width, height])"
    )
    return sum(width * height for width, height in sizes if (width, height) != (300, 150)) / 1e6


def heap(page: Page) -> float:
    """Megabytes of JavaScript's heap after a collection: objects, buffers and the document's nodes."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    usage = session.send("Runtime.getHeapUsage")
    session.detach()
    return (
        sum(usage.get(name, 0) for name in ("usedSize", "embedderHeapUsedSize", "backingStorageSize")) / 1e6
    )
