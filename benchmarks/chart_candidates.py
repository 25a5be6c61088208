"""The candidates of chart_libraries.py, and the page that holds one of them."""

import gzip
import io
import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from importlib.resources import files

import numpy as np

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
