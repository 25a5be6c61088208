"""The findings of clever_hans.py as a page, and a few of its images with their maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.clever_hans_tables import DECISIVE, DETECTORS, read_maps
from benchmarks.demo_photos import CATALOGUE
from benchmarks.pictures import to_webp
from xai.core import Explanation, Geometry, Sample
from xai.data.forgery import KINDS
from xai.report import save
from xai.report.colours import ColourScale
from xai.report.layout import Panel, compose
from xai.report.overlay import DrawnImage
from xai.report.picture import Layer, Picture

if TYPE_CHECKING:
    from benchmarks.clever_hans import Case

FREE = ("public domain", "CC0-1.0")
"""Licences under which a picture may go wherever the report goes."""
DRAWN = (
    "gradient_weighted_attention",
    "chefer",
    "attn_lrp",
    "integrated_mask_gradient",
    "integrated_gradients",
    "attention_rollout",
    "sobel",
)
"""Rows in the pictures, as far as the configuration has them."""
LONGEST = 480  # side of a panel in pixels
DPI = 150
ABOUT = """\
Two detectors with the same frozen tower, fitted on the same forged crops. For `shortcut` every fake bore a
watermark and no real did; for `honest` both twins of every other pair bore it, so that it said nothing.
Intervals are 95 % bootstraps over sources that no detector saw."""
LEARNED = """\
AUC of telling the first from the second: 1 where it always scores higher, 0 where it never does."""
SHOWN = """\
Watermarked fakes, forged in one place and marked in another; the mask is the watermark. *Pointing*: the share
of maps whose strongest patch lies on it; *AP*: average precision of finding its patches. A method *shows the
watermark* if its AP is above that of random maps, above Sobel's edges and above its own with the honest
detector (each p < 0.05, Wilcoxon's signed-rank test over sources, by Holm over the methods)."""
ELSEWHERE = """\
The same maps against either mask. A forgery covers up to a third of the image, a watermark a twentieth:
compare with the random maps of the same column, not one column with the other."""


# ------------------------------------------------------------------------------------------------------- page


def markdown(result: Mapping[str, Any], pictures: Sequence[str]) -> str:
    """The findings as a page.

    Args:
        result: What clever_hans.py writes as JSON.
        pictures: Paths relative to the page.
    """
    settings = ", ".join(f"{key} {_plain(value)}" for key, value in result["settings"].items())
    blocks = [
        f"# Clever Hans: which maps show a planted watermark? ({result['tower']})",
        "Written by `python benchmarks/clever_hans.py`; the raw figures are in the JSON that it writes "
        f"beside it, which is not kept here.\n{ABOUT}",
        "## Was the shortcut learned?",
        LEARNED,
        _learned(result["learned"]),
        "## Do the maps show it?",
        SHOWN,
        _shown(result["methods"]),
        "## The watermark or the forgery?",
        ELSEWHERE,
        _elsewhere(result["methods"]),
        "## Further measures of the shortcut detector's maps, at the watermark",
        _further(result["methods"]),
        "\n\n".join(f"![watermark and maps]({path})" for path in pictures),
        f"{settings}.",
    ]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _learned(learned: Mapping[str, Any]) -> str:
    rows = []
    for part, title, cell in (
        ("auc", "AUC: {}", _interval),
        ("adds", "what a {} adds to the log-odds of fake", _interval),
        ("called_fake", "{} called fake", "{:.0%}".format),
    ):
        names = learned[DETECTORS[0]][part]
        rows += [
            [title.format(name), *(cell(learned[one][part][name]) for one in DETECTORS)] for name in names
        ]
    return _table(["", *DETECTORS], rows)


def _shown(methods: Mapping[str, Any]) -> str:
    rows = []
    for name, row in _ordered(methods):
        shortcut, honest = (row["watermark"][one] for one in DETECTORS)
        pointing = [f"{one['pointing_game']['mean']:.2f}" for one in (shortcut, honest)]
        found = [_interval(shortcut[DECISIVE]), f"{honest[DECISIVE]['mean']:.3f}"]
        over = _difference(row["over_sobel"]) if row["over_sobel"] else ""
        rows.append([name, *pointing, *found, _difference(row["difference"][DECISIVE]), over, row["verdict"]])
    head = ["row", "pointing, shortcut", "pointing, honest", "AP, shortcut", "AP, honest"]
    return _table([*head, "AP, shortcut − honest", "AP, shortcut − Sobel", "verdict"], rows)


def _elsewhere(methods: Mapping[str, Any]) -> str:
    rows = [
        [name, *(f"{row[place][one][metric]['mean']:.3f}" for metric, one, place in _PLACES)]
        for name, row in _ordered(methods)
    ]
    said = {"pointing_game": "pointing", DECISIVE: "AP"}
    return _table(["row", *(f"{said[metric]} at the {place}, {one}" for metric, one, place in _PLACES)], rows)


_PLACES = [
    (metric, one, place)
    for metric in ("pointing_game", DECISIVE)
    for one in DETECTORS
    for place in ("watermark", "forgery")
]


def _further(methods: Mapping[str, Any]) -> str:
    some = next(iter(methods.values()))["watermark"][DETECTORS[0]]
    metrics = [name for name in some if name not in ("pointing_game", DECISIVE)]
    rows = [
        [name, *(f"{_interval(one)}{' *' * one['above_random']}" for one in (cells[m] for m in metrics))]
        for name, row in _ordered(methods)
        for cells in [row["watermark"][DETECTORS[0]]]
    ]
    return f"{_table(['row', *metrics], rows)}\n\n\\* above random maps, p < 0.05 by Holm over the rows."


def _ordered(methods: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Rows by their average precision at the watermark, best first; controls in italics."""

    def precision(item: tuple[str, Mapping[str, Any]]) -> float:
        return item[1]["watermark"][DETECTORS[0]][DECISIVE]["mean"]

    ordered = sorted(methods.items(), key=precision, reverse=True)
    return [(f"*{name}*" if row["control"] else name, row) for name, row in ordered]


def _interval(one: Mapping[str, Any]) -> str:
    mean = one["value"] if "value" in one else one["mean"]
    return f"{mean:.3f}" if one["low"] is None else f"{mean:.3f} ({one['low']:.3f} … {one['high']:.3f})"


def _difference(one: Mapping[str, Any]) -> str:
    mean = f"{one['mean']:+.3f}"
    return mean if one["low"] is None else f"{mean} ({one['low']:+.3f} … {one['high']:+.3f})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return " and ".join(f"{_plain(each)} ({name})" for name, each in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return str(value)


# --------------------------------------------------------------------------------------------------- pictures


def draw_examples(
    cases: Sequence[Case], margins: Mapping[str, NDArray], runs: Path, stem: Path, count: int
) -> list[Path]:
    """Draw the first image of each kind that may be passed on, at most `count`; returns the files.

    Args:
        cases: The images of the runs, in their order.
        margins: Detector → (images,) log-odds of fake.
        runs: Folder of the runs.
        stem: Folder of the pictures.
    """
    maps = {name: read_maps(runs / name) for name in DETECTORS}
    drawn = [row for row in DRAWN if row in maps[DETECTORS[0]]]
    kinds = {case.crop.forgery.kind: i for i, case in reversed(list(enumerate(cases))) if _is_free(case)}
    stem.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in sorted(kinds.values())[:count]:
        mine = {name: {row: each[row][i].numpy() for row in drawn} for name, each in maps.items()}
        figure = _draw(cases[i], {name: margins[name][i] for name in margins}, mine)
        drawn_to = stem / f"{i:03d}_{cases[i].crop.forgery.kind}.png"
        save(figure, drawn_to, dpi=DPI)
        paths.append(to_webp(drawn_to))
        drawn_to.unlink()
    return paths


def _is_free(case: Case) -> bool:
    """Whether all that the image shows is free of conditions."""
    licences = {photo.name: photo.licence for photo in CATALOGUE}
    shown = [case.crop.source]
    if KINDS[case.crop.forgery.kind].needs_donor:
        shown.append(case.crop.donor)
    return all(licences.get(name, FREE[0]).startswith(FREE) for name in shown)


def _draw(
    case: Case, margins: Mapping[str, float], maps: Mapping[str, Mapping[str, NDArray[np.float32]]]
) -> Picture:
    """One row of maps for each detector, beside the image and the place of its forgery."""
    image = Image.fromarray(case.mark.on(case.crop.forgery.image))
    sample = Sample(case.crop.source, image, label="fake", mask=case.mark.mask)
    width, height = image.size
    geometry = Geometry(image.size, (0, 0, width, height))
    marked = Explanation(sample, ("real", "fake"), np.zeros(2), {}, geometry, "")
    forged = replace(marked, sample=replace(sample, mask=case.crop.forgery.mask))
    canvas = DrawnImage(marked, longest=LONGEST)
    nothing = np.zeros((1, 1), np.float32)
    beside = {
        DETECTORS[0]: Panel("the image", Layer.of(canvas.original)),
        DETECTORS[1]: Panel(
            "its forgery",
            Layer.of(DrawnImage(forged, longest=LONGEST).overlay(nothing, ColourScale(1.0))),
        ),
    }
    rows = []
    for name in DETECTORS:
        chance = 1 / (1 + np.exp(-margins[name]))
        panels = [replace(beside[name], note=f"{name}: {chance:.0%} fake")]
        for row, values in maps[name].items():
            title = row if name == DETECTORS[0] else ""
            panels.append(Panel(title, Layer.of(canvas.overlay(values, ColourScale.of([values])))))
        rows.append(panels)
    caption = [
        f"Above the {DETECTORS[0]} detector, which was trained with the watermark on every fake; below the "
        f"{DETECTORS[1]} one. Turquoise outline: the watermark, in the lower left picture the forgery.",
        "Each map has a scale of its own, up to its strongest patch. Orange speaks for fake, blue against; "
        "maps without a sign run from dark to bright.",
    ]
    heading = f"{case.crop.forgery.kind}, {case.crop.source}: what the two detectors' maps show"
    return compose(heading, "", rows, caption)
