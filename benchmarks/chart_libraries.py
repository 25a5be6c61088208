"""What a chart costs a page: libraries that Python packages ship, one chart, one browser.

    pip install 'vit-xai[bench]' plotly==7.1.0 bokeh==3.9.2 playwright
    python benchmarks/chart_libraries.py             # Chromium is found on the PATH, or $CHROMIUM names it

The chart is the same for all: twelve deletion curves with bands and a read-out under the pointer. Each page
holds its library as the report does: gzip in base64, unpacked by the browser and run as an inline script
whose hash the policy names. The policy allows nothing else: no 'unsafe-inline', no 'unsafe-eval'. A library
that does not draw under it is timed under a lax policy, and the table says so. Runs of the candidates
alternate, each in a fresh browser context; figures are medians with the smallest and largest run. What is
not installed is named.
"""

import argparse
import importlib.metadata
import io
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from chart_candidates import CANDIDATES, COUNT, CURVES, HEIGHT, POINTS, WIDTH, Candidate, html, packed

ROOT = Path(__file__).resolve().parents[1]


def visit(browser: object, page: Path, points: bool = False) -> dict:
    """One run: seconds since navigation, violations, what was drawn, whether it answers the pointer."""
    context = browser.new_context(viewport={"width": 1000, "height": 700}, offline=True)
    try:
        tab = context.new_page()
        tab.goto(page.as_uri())
        try:
            tab.wait_for_function(
                "window.found.drawn !== null || window.found.error !== null", timeout=20_000
            )
        except Exception:
            tab.evaluate("window.found.error ??= 'not drawn within 20 s'")
        found = tab.evaluate("window.found")
        painted = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null")
        count = tab.evaluate(COUNT)
        look = pixels(tab.screenshot())
        answers = points and answers_pointer(tab, look)
        return {
            "paint": painted / 1000 if painted is not None else None,
            "chart": found["drawn"] / 1000 if found["drawn"] is not None else None,
            "error": found["error"],
            "violations": sorted(set(found["violations"])),
            "colours": len(np.unique(look.reshape(-1, 3), axis=0)),
            "answers": answers,
            **count,
        }
    finally:
        context.close()


def answers_pointer(tab: object, before: np.ndarray) -> bool:
    """Whether anything changes on a way down through all curves."""
    box = tab.locator("#place").bounding_box()
    for y in np.linspace(0.15, 0.85, 15):
        for x in (0.3, 0.5):
            tab.mouse.move(box["x"] + x * WIDTH, box["y"] + y * HEIGHT, steps=3)
        tab.wait_for_timeout(200)
        if (pixels(tab.screenshot()) != before).any():
            return True
    return False


def pixels(png: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def drawn(run: dict) -> bool:
    return run["error"] is None and run["colours"] > 50


def measure(runs: int, chromium: str) -> dict:
    from playwright.sync_api import sync_playwright

    made, missing = {}, []
    for package, make in CANDIDATES.items():
        try:
            made[package] = make()
        except ImportError:
            missing.append(package)
    load = os.getloadavg()[0]
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        pages = {(p, s): Path(folder) / f"{p}_{s}.html" for p in made for s in (True, False)}
        for (package, strict), path in pages.items():
            path.write_text(html(made[package], strict), "utf-8")
        first = {package: visit(browser, pages[package, True]) for package in made}  # warms the disk, too
        timed = {package: pages[package, drawn(first[package])] for package in made}
        found: dict[str, list[dict]] = {package: [] for package in made}
        for i in range(runs):
            for package in sorted(made, reverse=bool(i % 2)):
                found[package].append(visit(browser, timed[package]))
                print(f"run {i + 1} of {runs}: {package} {found[package][-1]['chart']}", file=sys.stderr)
        answers = {package: visit(browser, timed[package], points=True)["answers"] for package in made}
        version = browser.version
        sizes = {package: len(timed[package].read_bytes()) for package in made}
        browser.close()
    return {
        "chart": f"{CURVES} curves of {POINTS} points with bands and a read-out",
        "runs": runs,
        "browser": f"Chromium {version}, headless",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "load": round(load, 1),
        "python": platform.python_version(),
        "candidates": [report(made[p], first[p], found[p], sizes[p], answers[p]) for p in made],
        "missing": missing,
    }


def report(candidate: Candidate, first: dict, runs: list[dict], size: int, answers: bool) -> dict:
    return {
        "name": candidate.name,
        "package": candidate.package,
        "version": importlib.metadata.version(candidate.package),
        "raw": len(candidate.library.encode()),
        "embedded": len(packed(candidate)),
        "chart": len(candidate.content) + len(json.dumps(candidate.data)),
        "page": size,
        "strict": drawn(first),
        "strict_violations": first["violations"],
        "strict_error": first["error"],
        "timed_under": "strict" if drawn(first) else "lax",
        "failed_runs": sum(run["error"] is not None for run in runs),
        "first_paint": spread([run["paint"] for run in runs]),
        "first_chart": spread([run["chart"] for run in runs]),
        "answers_pointer": answers,
        "output": output(runs[-1]),
    }


def output(run: dict) -> str:
    if run["images"] and not run["canvases"]:
        return "SVG, as an image"
    return "canvas" if run["canvases"] and run["paths"] < CURVES else "SVG"


def spread(values: list) -> dict | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"median": statistics.median(known), "low": min(known), "high": max(known)}


def markdown(found: dict) -> str:
    rows = [row(one) for one in found["candidates"]]
    head = ["library", "package", "raw MB", "in the page MB", "one chart kB", "first paint s"]
    head += ["first chart s", "strict policy", "violations", "output", "answers the pointer"]
    lines = [head, ["---"] * len(head), *rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    missing = f"\n\nNot installed, not measured: {', '.join(found['missing'])}." if found["missing"] else ""
    return f"""# Chart libraries that Python packages ship

Made by `python benchmarks/chart_libraries.py`: {found["chart"]}; medians (smallest … largest)
of {found["runs"]} alternating runs, {found["browser"]}, {found["machine"]},
Python {found["python"]}; load average at the start {found["load"]}: the times of a busy machine are long and
far apart, and only their order counts. Times count from navigation; "in the page" is the library as gzip in
base64. The policy names the hashes of scripts and of the style, and allows nothing else.

{table}{missing}

{conclusion(found)}
"""


def row(one: dict) -> list[str]:
    policy = "works" if one["strict"] else "does not draw; timed under a lax policy"
    violations = "; ".join(f"`{v}`" for v in one["strict_violations"]) or "none"
    return [
        one["name"],
        f"{one['package']} {one['version']}",
        f"{one['raw'] / 1e6:.2f}",
        f"{one['embedded'] / 1e6:.2f}",
        f"{one['chart'] / 1e3:.0f}",
        seconds(one["first_paint"]),
        seconds(one["first_chart"]),
        policy,
        violations,
        one["output"],
        "yes" if one["answers_pointer"] else "no",
    ]


def seconds(value: dict | None) -> str:
    return "" if value is None else f"{value['median']:.2f} ({value['low']:.2f} … {value['high']:.2f})"


def fit(one: dict) -> bool:
    """What the report needs: the strict policy kept without a violation, SVG, an answer to the pointer."""
    svg = one["output"].startswith("SVG")
    return one["strict"] and not one["strict_violations"] and svg and one["answers_pointer"]


def conclusion(found: dict) -> str:
    good = sorted((one for one in found["candidates"] if fit(one)), key=lambda one: one["embedded"])
    need = (
        "draws under the strict policy without a violation, makes SVG (sharp on paper), answers the pointer"
    )
    if not good:
        return f"None of them does all that the report needs: {need}."
    return f"{good[0]['name']} is the lightest that does all that the report needs: {need}."


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "chart_libraries")
    options = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("Chromium was not found: install it, or name it in $CHROMIUM.")
    found = measure(options.runs, chromium)
    options.out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    options.out.with_suffix(".md").write_text(markdown(found), "utf-8")


if __name__ == "__main__":
    main()
