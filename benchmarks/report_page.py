"""Weight of the report's page, and how quick it is in a browser.

    python benchmarks/report_page.py                   # 50, 200, 1000 images × 14 rows; needs Chromium
    python benchmarks/report_page.py --images 50 --repeats 3

The page is a benchmark's: photographs of 320 pixels, the rows of the demo benchmark, curves with noise. It is
opened from disk, each time in a new context. "Ready": from the start of the navigation until the page can be
used. "First heatmap": until a canvas of an image is painted, with the scrolling down to it. "Slider": from a
change of the opacity until the next picture is on the screen, with images in view. "Heap": JavaScript's after
every image came into view. Medians; the JSON has each visit.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import browsing
from report_pages import big_page

import xai
from xai.report import payload, to_html
from xai.report.encode import pack
from xai.report.page import chart_library

# when the page is ready and when an image's canvas is painted first, without asking again and again
CLOCK = """
window.__first = null;
for (const name of ["putImageData", "drawImage", "fillRect"]) {
  const paint = CanvasRenderingContext2D.prototype[name];
  CanvasRenderingContext2D.prototype[name] = function (...given) {
    if (window.__first === null && this.canvas.closest?.("article")) window.__first = performance.now();
    return paint.apply(this, given);
  };
}
new MutationObserver((_, observer) => {
  if (document.documentElement.dataset.ready !== "true") return;
  window.__ready = performance.now();
  observer.disconnect();
}).observe(document, { attributes: true, subtree: true, attributeFilter: ["data-ready"] });
"""
COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "page_mb": ("page, MB", "{:.2f}".format),
    "pictures_mb": ("pictures", "{:.2f}".format),
    "maps_mb": ("maps", "{:.2f}".format),
    "library_mb": ("charts' library", "{:.2f}".format),
    "ready_ms": ("ready, ms", "{:.0f}".format),
    "first_heatmap_ms": ("first heatmap, ms", "{:.0f}".format),
    "slider_ms": ("slider, ms", "{:.0f}".format),
    "drawn_megapixels": ("canvases, megapixels", "{:.1f}".format),
    "heap_mb": ("heap, MB", "{:.0f}".format),
}


def weights(page: payload.Page, html: str) -> dict[str, float]:
    """Megabytes of the page and of its parts, as they stand in the file."""
    maps = [pack(image.model_dump(include={"maps"}, mode="json")) for image in page.images]
    return {
        "page_mb": len(html.encode()) / 1e6,
        "pictures_mb": sum(len(image.picture or "") for image in page.images) / 1e6,
        "maps_mb": sum(map(len, maps)) / 1e6,
        "library_mb": len(chart_library().packed) / 1e6,
    }


def times(browser: Browser, path: Path, images: int) -> dict[str, float]:
    """One visit: open, slide, scroll to the end and back."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    context.add_init_script(CLOCK)
    tab = context.new_page()
    tab.goto(path.as_uri())
    tab.wait_for_selector(browsing.READY, state="attached", timeout=120_000)
    tab.locator("#maps, #controls").evaluate_all("(all) => all.forEach((one) => { one.open = true; })")
    tab.get_by_label("All below one another").check()
    tab.locator("article.image").first.scroll_into_view_if_needed()
    tab.wait_for_function("() => window.__first !== null")
    found = {
        "ready_ms": tab.evaluate("() => window.__ready"),
        "first_heatmap_ms": tab.evaluate("() => window.__first"),
    }
    tab.wait_for_timeout(500)
    slider = tab.get_by_role("slider", name="opacity")
    found["slider_ms"] = statistics.median(slider.evaluate(browsing.SLIDE) for _ in range(9))
    _scroll(tab, images)
    return found | {"drawn_megapixels": browsing.drawn(tab), "heap_mb": browsing.heap(tab)}


def _scroll(tab: Page, images: int) -> None:
    """Every image comes into view once."""
    for place in range(0, images, 2):
        tab.evaluate(f"() => document.getElementById('image-{place}').scrollIntoView()")
        tab.wait_for_timeout(30)
    tab.wait_for_timeout(1000)


def measure(browser: Browser, images: int, repeats: int, folder: Path) -> dict[str, Any]:
    page = big_page(images)
    html = to_html(page)
    path = folder / f"{images}.html"
    path.write_text(html, "utf-8")
    visits = [times(browser, path, images) for _ in range(repeats)]
    medians = {key: statistics.median(visit[key] for visit in visits) for key in visits[0]}
    return {"images": images, "rows": len(page.rows), **weights(page, html), **medians, "visits": visits}


def table(header: dict[str, Any], results: list[dict[str, Any]]) -> str:
    machine = ", ".join(f"{key} {value}" for key, value in header.items())
    lines = [
        "# The report's page",
        "",
        "Written by `python benchmarks/report_page.py`, which says what each column means; raw figures "
        f"beside it in JSON. {machine}.",
        "",
        "| images | rows | " + " | ".join(title for title, _ in COLUMNS.values()) + " |",
        "|---:|" + "---:|" * (1 + len(COLUMNS)),
    ]
    for one in results:
        cells = [write(one[key]) for key, (_, write) in COLUMNS.items()]
        lines.append(f"| {one['images']} | {one['rows']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, nargs="*", default=[50, 200, 1000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("reports"))
    options = parser.parse_args()
    results = []
    header: dict[str, Any] = {"xai": xai.__version__, "machine": platform.machine(), "cores": os.cpu_count()}
    for browser in browsing.chromium():
        header["chromium"] = browser.version
        with tempfile.TemporaryDirectory() as folder:
            for images in options.images:
                results.append(measure(browser, images, options.repeats, Path(folder)))
                print(
                    json.dumps({key: value for key, value in results[-1].items() if key != "visits"}),
                    flush=True,
                )
    options.out.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"header": header, "results": results}, indent=1)
    (options.out / "report_page.json").write_text(content + "\n", "utf-8")
    (options.out / "report_page.md").write_text(table(header, results), "utf-8")


if __name__ == "__main__":
    main()
