"""Pages and pictures show the same rows, order, numbers, colours and outcomes: read off both renderings."""

import re
from functools import cache

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from xai.core.language import language
from xai.report import draw_forest, file_slug
from xai.report.figures import (
    agreement_chart,
    critical_difference_chart,
    curve_chart,
    interval_chart,
    rank_chart,
)
from xai.report.figures.description import PALETTE
from xai.report.render import write_pictures
from xai.report.render.matplotlib import draw
from xai.report.render.vega import vega_spec
from xai.stats import Outcome, analyse, mean_curve, metric_agreement

NAMES = ["chefer", "legrad", "integrated gradients of a long name", *(f"m{i}" for i in range(8))]
CONTROLS = ["sobel", "random"]
ALL = [*NAMES, *CONTROLS]


@cache
def analysis(seed=0, images=60):
    rng = np.random.default_rng(seed)
    means = [*rng.permutation(np.linspace(-1, 1, len(ALL) - 1)), 0.0]  # random maps lie between
    values = rng.normal(size=(images, len(ALL))) + means
    return analyse(values, ALL, controls=CONTROLS, resamples=99)


@cache
def bands():
    rng, x = np.random.default_rng(1), np.linspace(0, 1, 6)
    return {name: mean_curve(rng.normal(size=(9, 6)) + i % 7, x, resamples=50) for i, name in enumerate(ALL)}


def taus():
    rng = np.random.default_rng(2)
    scores = {name: dict(zip("abcde", rng.normal(size=5), strict=True)) for name in ("srg", "saco", "gini")}
    return metric_agreement(scores, dict.fromkeys(scores, True))


def texts(figure):
    """(x, y from the top, text, colour) of everything written, in inches."""
    found = [one for one in figure.findobj(Text) if one.get_text().strip()]
    return [(*one.get_position(), one.get_text(), to_hex(one.get_color())) for one in found]


def drawn_as(figure, kind):
    return [one for one in figure.artists if isinstance(one, kind)]


def place(figure, text):
    return next((x, y) for x, y, one, _ in texts(figure) if one == text)


def records(spec):
    sources = [spec, *spec["layer"]]
    return [row for one in sources for row in one.get("data", {}).get("values", [])]


def scale_of(spec, channel, field):
    found = [one["encoding"][channel] for one in spec["layer"] if channel in one["encoding"]]
    return next(one["scale"] for one in found if one.get("field") == field)


def fallback(css):
    """The colour that a variable stands for."""
    return re.fullmatch(r"var\(--[\w-]+, (#\w+)\)", css)[1]


def is_line(values, positions):
    """Whether positions lie on one scale: a straight function of the values."""
    values, positions = np.asarray(values, float), np.asarray(positions, float)
    fit = np.polyfit(values, positions, 1)
    return np.abs(np.polyval(fit, values) - positions).max() < 1e-3


def markers(figure):
    """(x, y, colour, marker) of every dot."""
    lines = [line for line in drawn_as(figure, Line2D) if line.get_linestyle() == "None"]
    return [
        (line.get_xdata()[0], line.get_ydata()[0], to_hex(line.get_color()), line.get_marker())
        for line in lines
    ]


def test_intervals_agree():
    chart = interval_chart(analysis(), "SRG", metric="srg")
    spec, figure = vega_spec(chart), draw(chart)
    rows = [one for one in records(spec) if "row" in one]
    order = scale_of(spec, "y", "row")["domain"]
    assert [one["row"] for one in rows] == order
    heights = [place(figure, label)[1] for label in order]
    assert heights == sorted(heights)
    colours = scale_of(spec, "color", "colour")
    colour_of = dict(zip(colours["domain"], map(fallback, colours["range"]), strict=True))
    dots = sorted(markers(figure), key=lambda dot: dot[1])[: len(rows)]
    assert is_line([one["value"] for one in rows], [x for x, *_ in dots])
    for one, (_, _, colour, marker) in zip(rows, dots, strict=True):
        assert colour == colour_of[one["colour"]]
        assert marker == ("s" if one["control"] else "o")
        assert place(figure, f"{one['mean']}  ({one['interval']})")
        method = analysis().method(one["row"].removesuffix(" (control)"))
        assert one["outcome"] == method.verdict.outcome
        assert (one["colour"] == "better") == (method.verdict.outcome is Outcome.BETTER)
        assert (one["colour"] == "worse") == (method.verdict.outcome is Outcome.WORSE)
    ends = [line for line in drawn_as(figure, Line2D) if line.get_linewidth() == 1.6]
    drawn = [x for line in ends for x in line.get_xdata()]
    assert is_line([end for one in rows for end in (one["low"], one["high"])], drawn)
    written = {text for _, _, text, _ in texts(figure)}
    assert {one["name"] for one in spec["usermeta"]["legend"]["entries"]} <= written
    assert {Outcome(one["outcome"]) for one in rows} >= {Outcome.BETTER, Outcome.WORSE}


def test_curves_agree():
    chart = curve_chart(bands(), "Deletion", controls=CONTROLS)
    spec, figure = vega_spec(chart), draw(chart)
    entries = spec["usermeta"]["legend"]["entries"]
    heights = [place(figure, one["name"])[1] for one in entries]
    assert heights == sorted(heights)
    lines = [
        one for one in drawn_as(figure, Line2D) if len(one.get_xdata()) == 6 and one.get_linewidth() == 1.5
    ]
    means, drawn = [], []
    for entry, line in zip(entries, lines, strict=True):
        rows = [one for one in records(spec) if one["row"] == entry["name"]]
        assert to_hex(line.get_color()) == fallback(entry["colour"])
        assert (line.get_linestyle() == "-") == (tuple(entry["dash"]) == (1, 0))
        assert is_line([one["share"] for one in rows], line.get_xdata())
        means += [one["value"] for one in rows]
        drawn += list(line.get_ydata())
    assert is_line(means, drawn)
    assert scale_of(spec, "stroke", "row")["domain"] == [one["name"] for one in entries]
    mean_heights = [float(curve.height.replace("−", "-")) for curve in chart.curves]
    assert mean_heights == sorted(mean_heights, reverse=True)


@pytest.mark.parametrize("kind", ["ranks", "agreement"])
def test_matrices_agree(kind):
    chart = (
        rank_chart({"srg": analysis(), "saco": analysis(1)}, "Ranks")
        if kind == "ranks"
        else agreement_chart(taus(), "Agreement")
    )
    spec, figure = vega_spec(chart), draw(chart)
    rows, columns = scale_of(spec, "y", "row")["domain"], scale_of(spec, "x", "column")["domain"]
    named = [(x, y) for x, y, text, _ in texts(figure) if text in rows]
    lines = sorted(y for x, y in named if x == min(x for x, _ in named))
    assert len(lines) == len(rows)
    across = [place(figure, name)[0] for name in columns]
    assert across == sorted(across)
    boxes = {(round(b.get_x(), 3), round(b.get_y(), 3)): b for b in drawn_as(figure, Rectangle)}
    wide = max(box.get_width() for box in boxes.values() if box.get_height() == 0.4)
    for one in records(spec):
        x, y = across[columns.index(one["column"])], lines[rows.index(one["row"])]
        near = [text for a, b, text, _ in texts(figure) if abs(a - x) < 0.02 and abs(b - y) < 0.21]
        assert near == [text for text in (one["text"], one["detail"]) if text]
        box = min(boxes.values(), key=lambda b: abs(b.get_x() + wide / 2 - x) + abs(b.get_y() + 0.14 - y))
        red, _, blue, _ = box.get_facecolor()
        if one["strength"] > 0.05:
            assert {"same": blue > red, "reversed": red > blue, "unclear": red == blue}[one["colour"]]


@pytest.mark.parametrize("test", ["wilcoxon", "nemenyi"])
def test_diagrams_of_ranks_agree(test):
    chart = critical_difference_chart(analysis(), "SRG", test=test)
    spec, figure = vega_spec(chart), draw(chart)
    rows = list({one["row"]: one for one in records(spec) if "row" in one}.values())
    for left in (True, False):
        side = sorted((one for one in rows if one["left"] == left), key=lambda one: one["lane"])
        places = [place(figure, one["label"]) for one in side]
        assert [y for _, y in places] == sorted(y for _, y in places) and len({x for x, _ in places}) == 1
    elbows = [line for line in drawn_as(figure, Line2D) if len(line.get_xdata()) == 3]
    ranks = [row.rank for row in chart.rows]
    assert is_line(ranks, [line.get_xdata()[0] for line in elbows])
    dots = sorted((one["lane"], one["rank"]) for one in records(spec) if "rank" in one)
    drawn = sorted((round(y, 4), x) for x, y, colour, _ in markers(figure) if colour == PALETTE["joined"])
    assert len(dots) == len(drawn) == sum(map(len, chart.bars)) > 0
    assert is_line([rank for _, rank in dots], [x for _, x in drawn])
    rulers = {one["text"] for one in records(spec) if "text" in one}
    assert rulers == {text for _, _, text, _ in texts(figure) if text.startswith("critical difference")}
    assert len(rulers) == (test == "nemenyi")


class Measured:
    metric, protocol = "srg", "a/b"
    analysis, curves = analysis(), bands()


def test_pictures_of_a_run_have_names_of_their_own(tmp_path):
    files = write_pictures([Measured()], tmp_path)
    names = ("ranks", "critical_difference_srg", "intervals_srg", "curves_srg")
    assert [path.name for path in files] == [f"{name}_{file_slug('a/b')}.png" for name in names]
    assert all(path.is_file() and path.with_suffix(".svg").is_file() for path in files)


def test_pictures_are_in_a_language_whose_letters_there_are(monkeypatch):
    with language("zh"):
        chinese = draw_forest(analysis(), "SRG", metric="srg")
        monkeypatch.setattr("xai.report.text._installed", lambda: ())
        english = draw_forest(analysis(), "SRG", metric="srg")
    assert "Mean srg on 60 images; higher is better." in {text for _, _, text, _ in texts(english)}
    assert not any("\\u" in text for _, _, text, _ in [*texts(chinese), *texts(english)])


def test_so_few_images_give_no_intervals_to_draw():
    values = np.random.default_rng(3).normal(size=(3, len(ALL)))
    few = analyse(values, ALL, controls=CONTROLS, resamples=99)
    chart = interval_chart(few, "srg", metric="srg")
    assert {row.interval for row in chart.rows} == {""} and "interval" not in chart.alt
    assert not any("Bars:" in note for note in chart.notes)
    assert not any("()" in text for _, _, text, _ in texts(draw(chart)))
    curves = curve_chart({name: mean_curve(values, np.linspace(0, 1, len(ALL))) for name in "ab"}, "srg")
    assert curves.subheading == "Mean of 3 images."
    assert not any("Bands:" in note for note in curves.notes)
    assert {point.interval for curve in curves.curves for point in curve.points} == {""}


def test_curves_name_the_level_of_their_intervals():
    assert curve_chart(bands(), "srg", alpha=0.2).subheading == "Mean of 9 images with 80 % intervals."
