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
import gzip
import importlib.metadata
import io
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from importlib.resources import files
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CURVES, POINTS = 12, 51
COLOURS = (
    *("#055997", "#c14405", "#2f97ac", "#6d1a44", "#9759eb", "#c1826d", "#5905eb", "#6d0505"),
    *("#737373", "#9a9a9a", "#4d4d4d", "#b0b0b0"),
)
WIDTH, HEIGHT = 900, 400  # of the chart, in pixels


@dataclass(frozen=True)
class Candidate:
    """A way to draw the chart.

    Args:
        name: As the table has it.
        package: That ships the library.
        library: Its script; empty for none.
        content: HTML that stands in the place of the chart before any script runs.
        data: What the script is given, as JSON.
        draw: Body of an async function of (data, place) that resolves when the chart has been asked for.
    """

    name: str
    package: str
    library: str
    content: str
    data: object
    draw: str


# ------------------------------------------------------------------------------------------------- candidates


def curves() -> list[dict]:
    """Twelve falling curves with bands, smooth and seeded."""
    random = np.random.default_rng(0)
    x = np.linspace(0, 1, POINTS)
    found = []
    for i in range(CURVES):
        mean = 6 - 13 * x ** random.uniform(0.3, 2.5)
        width = 0.2 + random.uniform(0.2, 0.8) * np.sin(np.pi * x)
        found.append({"row": f"method_{i}", "x": x, "mean": mean, "low": mean - width, "high": mean + width})
    return found


def vega() -> Candidate:
    rows = [
        {"row": one["row"], "share": x, "mean": mean, "low": low, "high": high}
        for one in curves()
        for x, mean, low, high in zip(*(one[k].tolist() for k in ("x", "mean", "low", "high")), strict=True)
    ]
    colour = {
        "field": "row",
        "type": "nominal",
        "scale": {"domain": [one["row"] for one in curves()], "range": list(COLOURS)},
    }
    x, y = {"field": "share", "type": "quantitative"}, {"field": "mean", "type": "quantitative"}
    near = {"type": "point", "on": "pointerover", "clear": "pointerout", "nearest": True}
    said = [{"field": name, "type": "nominal"} for name in ("row", "share", "mean", "low", "high")]
    band = {"x": x, "y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}, "fill": colour}
    spec = {
        "width": WIDTH - 220,
        "height": HEIGHT - 60,
        "data": {"values": rows},
        "layer": [
            {"mark": {"type": "area", "opacity": 0.13}, "encoding": band},
            {"mark": "line", "encoding": {"x": x, "y": y, "color": colour}},
            {
                "params": [{"name": "near", "select": near}],
                "mark": {"type": "point", "filled": True},
                "encoding": {"x": x, "y": y, "color": colour, "tooltip": said}
                | {"opacity": {"condition": {"param": "near", "empty": False, "value": 1}, "value": 0}},
            },
        ],
    }
    draw = """await vegaEmbed(place, data, {mode: "vega-lite", renderer: "svg", actions: false, ast: true,
      defaultStyle: false, tooltip: {disableDefaultStyle: true}});"""
    library = import_module("vl_convert").javascript_bundle()
    return Candidate("Vega-Lite", "vl-convert-python", library, "", spec, draw)


def plotly() -> Candidate:
    traces = []
    for one, colour in zip(curves(), COLOURS, strict=True):
        share = one["x"].tolist()
        edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
        face = "rgba({}, {}, {}, 0.13)".format(*(int(colour[i : i + 2], 16) for i in (1, 3, 5)))
        traces += [
            {"x": share, "y": one["low"].tolist(), **edge},
            {"x": share, "y": one["high"].tolist(), **edge, "fill": "tonexty", "fillcolor": face},
            {"x": share, "y": one["mean"].tolist(), "mode": "lines", "name": one["row"]}
            | {"line": {"color": colour, "width": 2}},
        ]
    data = {"traces": traces, "layout": {"width": WIDTH, "height": HEIGHT, "hovermode": "closest"}}
    draw = "await Plotly.newPlot(place, data.traces, data.layout, {displayModeBar: false});"
    library = (files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8")
    return Candidate("plotly.js", "plotly", library, "", data, draw)


def bokeh() -> Candidate:
    plotting, models, embed = (import_module(f"bokeh.{name}") for name in ("plotting", "models", "embed"))
    figure = plotting.figure(width=WIDTH, height=HEIGHT, toolbar_location=None, tools="")
    lines = []
    for one, colour in zip(curves(), COLOURS, strict=True):
        share = one["x"].tolist()
        low, high, mean = (one[key].tolist() for key in ("low", "high", "mean"))
        figure.varea(share, low, high, fill_color=colour, fill_alpha=0.13)
        lines.append(
            figure.line(share, mean, color=colour, line_width=2, legend_label=one["row"], name=one["row"])
        )
    figure.add_tools(models.HoverTool(renderers=lines, tooltips=[("row", "$name"), ("mean", "@y")]))
    draw = """const views = await Bokeh.embed.embed_item({...data, target_id: place.id});
      const inner = [...views.roots ?? views][0]?.model?.document ?? Bokeh.documents.at(-1);
      while (!inner.is_idle) await new Promise(requestAnimationFrame);"""
    library = (files("bokeh") / "server" / "static" / "js" / "bokeh.min.js").read_text("utf-8")
    return Candidate("BokehJS", "bokeh", library, "", embed.json_item(figure), draw)


def static() -> Candidate:
    """As an image: matplotlib's SVG holds style attributes, which the policy forbids in the page."""
    figure = import_module("matplotlib.figure").Figure((WIDTH / 100, HEIGHT / 100))
    axes = figure.add_subplot()
    for one, colour in zip(curves(), COLOURS, strict=True):
        axes.fill_between(one["x"], one["low"], one["high"], color=colour, alpha=0.13, linewidth=0)
        axes.plot(one["x"], one["mean"], color=colour, linewidth=2, label=one["row"])
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    uri = "data:image/svg+xml;base64," + b64encode(buffer.getvalue()).decode()
    content = f'<img alt="Deletion curves" width="{WIDTH}" height="{HEIGHT}" src="{uri}">'
    draw = 'await place.querySelector("img").decode();'
    return Candidate("static SVG", "matplotlib", "", content, None, draw)


CANDIDATES: dict[str, Callable[[], Candidate]] = {
    "vl-convert-python": vega,
    "bokeh": bokeh,
    "plotly": plotly,
    "matplotlib": static,
}

# ------------------------------------------------------------------------------------------------------ pages

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>One chart</title><style>{style}</style></head>
<body><h1>One chart</h1><p>Text that can be read before any chart is drawn.</p>
<div id="place">{content}</div>
<script type="text/plain" id="library">{library}</script>
<script type="application/json" id="data">{data}</script>
<script>{script}</script></body></html>
"""
STYLE = "body{margin:16px;font:16px sans-serif}#place{width:900px;min-height:400px}"
SCRIPT = """
"use strict";
window.found = {violations: [], drawn: null, error: null};
document.addEventListener("securitypolicyviolation", (event) => {
  window.found.violations.push(`${event.effectiveDirective}: ${event.blockedURI}`);
});
(async () => {
  const place = document.getElementById("place");
  const packed = document.getElementById("library").textContent;
  if (packed) {
    const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  }
  const data = JSON.parse(document.getElementById("data").textContent);
  DRAW
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  window.found.drawn = performance.now();
})().catch((error) => { window.found.error = String(error); });
"""
COUNT = """() => {
  const count = {paths: 0, canvases: 0, images: 0};
  const walk = (root) => {
    count.paths += root.querySelectorAll("svg path").length;
    count.canvases += root.querySelectorAll("canvas").length;
    count.images += root.querySelectorAll("img").length;
    for (const element of root.querySelectorAll("*")) if (element.shadowRoot) walk(element.shadowRoot);
  };
  walk(document.getElementById("place"));
  return count;
}"""


def inline(script: str) -> str:
    """What may stand inside of an HTML file; the hash is of what the parser hands on."""
    return script.replace("\r\n", "\n").replace("\r", "\n")


def packed(candidate: Candidate) -> str:
    return b64encode(gzip.compress(candidate.library.encode(), mtime=0)).decode() if candidate.library else ""


def html(candidate: Candidate, strict: bool) -> str:
    script = SCRIPT.replace("DRAW", candidate.draw)
    library = inline(candidate.library)
    hashes = [
        f"'sha256-{b64encode(sha256(one.encode()).digest()).decode()}'" for one in (script, library, STYLE)
    ]
    scripts, styles = (
        (f"{hashes[0]} {hashes[1]}", hashes[2]) if strict else ("'unsafe-inline' 'unsafe-eval'",) * 2
    )
    policy = f"default-src 'none'; img-src data:; script-src {scripts}; style-src {styles}"
    data = json.dumps(candidate.data).replace("</", "<\\/")
    return PAGE.format(
        policy=policy,
        style=STYLE,
        content=candidate.content,
        library=packed(candidate),
        data=data,
        script=script,
    )


# ------------------------------------------------------------------------------------------------ measurement


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


# ---------------------------------------------------------------------------------------------------- writing


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
