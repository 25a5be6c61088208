"""Pictures of a benchmark: nothing overlaps, nothing is cut off, and they say what the numbers say."""

import re
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image

from xai.core import UsageError
from xai.report import (
    draw_agreement,
    draw_critical_difference,
    draw_curves,
    draw_forest,
    draw_rank_table,
    save,
)
from xai.report.figures.critical_difference import indistinct
from xai.report.figures.description import CURVES, PALETTE
from xai.report.render.matplotlib import CONTROL
from xai.report.render.plot import InchScale, ink_on
from xai.report.text import number_format
from xai.stats import analyse, mean_curve, metric_agreement

LONG = "integrated_gradients_with_a_row_name_that_never_ends_$x^2$_真实"
METHODS = ["gradient_weighted_attention", "mask_gradient", LONG, *(f"method_{i}" for i in range(18))]
CONTROLS = ["sobel", "center_prior", "random"]


@cache
def analysed(methods=8, images=40, effect=1.0, offset=0.0, **options):
    names = [*METHODS[: methods - 3], *CONTROLS] if methods > 3 else [*METHODS[: methods - 1], "random"]
    rng = np.random.default_rng(methods)
    values = rng.normal(size=(images, len(names))) + np.linspace(effect, 0, len(names)) + offset
    controls = [name for name in names if name in CONTROLS]
    return analyse(values, names, controls=controls, resamples=99, **options)


@cache
def curves(methods=8, images=20, points=9):
    names = [*METHODS[: methods - 3], *CONTROLS]
    rng, x = np.random.default_rng(0), np.linspace(0, 1, points)
    return {
        name: mean_curve(3 - 4 * x ** (0.4 + i) + rng.normal(size=(images, points)), x, resamples=50)
        for i, name in enumerate(names)
    }


def agreement(metrics):
    rng = np.random.default_rng(0)
    names = ["srg", "deletion", "faithfulness_correlation", "comprehensiveness", "flat"][:metrics]
    scores = {name: dict(zip("abcdef", rng.normal(size=6), strict=True)) for name in names}
    scores.update({"flat": dict.fromkeys("abcdef", 1.0)} if "flat" in names else {})
    return metric_agreement(scores, dict.fromkeys(names, True))


FIGURES = {
    "cd": lambda: draw_critical_difference(analysed(), "SRG"),
    "cd, 24 methods": lambda: draw_critical_difference(analysed(24), "SRG"),
    "cd, 24 alike": lambda: draw_critical_difference(analysed(24, effect=0), "SRG"),
    "cd, one method": lambda: draw_critical_difference(analysed(1), "SRG"),
    "cd, Nemenyi": lambda: draw_critical_difference(analysed(12), "SRG", test="nemenyi"),
    "cd, Nemenyi, 2 images": lambda: draw_critical_difference(analysed(5, 2), "SRG", test="nemenyi"),
    "cd, one image": lambda: draw_critical_difference(analysed(5, 1), "SRG", test="nemenyi"),
    "forest": lambda: draw_forest(analysed(), "SRG", metric="SRG", notes=["One more note."]),
    "forest, 24 methods": lambda: draw_forest(analysed(24), "SRG", metric="SRG"),
    "forest, few images": lambda: draw_forest(analysed(images=3), "SRG", metric="SRG"),
    "forest, large": lambda: draw_forest(analysed(offset=1e7), "SRG", metric="SRG"),
    "forest, no reference": lambda: draw_forest(analysed(reference=None), "SRG", metric="SRG"),
    "curves": lambda: draw_curves(curves(), "Deletion", controls=CONTROLS, y_label="logit margin"),
    "curves, 24 methods": lambda: draw_curves(curves(24), "Deletion", controls=CONTROLS),
    "curves, two points": lambda: draw_curves(curves(points=2), "Deletion"),
    "ranks": lambda: draw_rank_table(
        {"srg": analysed(), "faithfulness_correlation": analysed(12, higher_is_better=False)}, "Ranks"
    ),
    "ranks, one metric": lambda: draw_rank_table({"comprehensiveness": analysed(12)}, "Ranks"),
    "ranks, many metrics": lambda: draw_rank_table({f"metric_{i}": analysed() for i in range(8)}, "Ranks"),
    "agreement": lambda: draw_agreement(agreement(5), "Agreement"),
    "agreement of one": lambda: draw_agreement(agreement(1), "Agreement"),
}


def texts(figure):
    return [text for text in figure.findobj(Text) if text.get_text().strip()]


def lines_of(figure):
    return [one for one in figure.artists if isinstance(one, Line2D)]


def words_of(figure):
    return " ".join(text.get_text() for text in texts(figure))


def pixels(figure, path, dpi=100):
    save(figure, path, dpi=dpi)
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_overlaps_or_is_cut_off(name):
    figure = FIGURES[name]()
    boxes = {text: text.get_window_extent() for text in texts(figure)}
    width, height = figure.canvas.get_width_height()
    for text, box in boxes.items():
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text.get_text()
    for (one, box), (other, other_box) in combinations(boxes.items(), 2):
        shared = box.intersection(box, other_box)
        assert shared is None or min(shared.width, shared.height) < 3, (one.get_text(), other.get_text())
    for line in lines_of(figure):
        x, y = (np.asarray(values, float) for values in line.get_data())
        points = line.get_transform().transform(np.stack([x, y], 1))
        assert (points >= -1).all() and (points <= np.array([width, height]) + 1).all()


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
@pytest.mark.parametrize("name", ["cd", "forest", "curves", "ranks", "agreement"])
def test_every_picture_is_saved_in_every_format(name, kind, tmp_path):
    path = tmp_path / f"{name}.{kind}"
    save(FIGURES[name](), path)
    assert path.stat().st_size > 5_000


def test_bars_join_exactly_what_cannot_be_told_apart():
    analysis = analysed(12, 30)
    ranked = [method.name for method in analysis.ranked]
    for test in ("wilcoxon", "nemenyi"):
        bars = indistinct(ranked, analysis, test)
        for pair in analysis.pairs:
            apart = pair.distinguishable if test == "wilcoxon" else pair.p_nemenyi < 0.05
            places = {ranked.index(pair.first), ranked.index(pair.second)}
            assert apart != any(places <= set(bar) for bar in bars)
        for one, other in combinations(map(set, bars), 2):
            assert not one <= other and not other <= one
    neighbours = indistinct(ranked, analysis, "nemenyi")
    assert neighbours and all(bar == list(range(bar[0], bar[-1] + 1)) for bar in neighbours)


def test_a_bar_has_a_dot_at_each_of_its_methods():
    analysis = analysed(8, 30)
    bars = indistinct([method.name for method in analysis.ranked], analysis, "wilcoxon")
    lines = lines_of(draw_critical_difference(analysis, "SRG"))
    drawn = [line for line in lines if line.get_color() == PALETTE["joined"] and line.get_marker() == "o"]
    assert len(drawn) == sum(map(len, bars))


def test_the_diagram_says_which_test_and_what_it_means():
    assert "Wilcoxon signed-rank tests (Pratt) with Holm's" in words_of(FIGURES["cd"]())
    nemenyi = words_of(FIGURES["cd, Nemenyi"]())
    assert "Nemenyi's critical difference, at 0.05" in nemenyi and "critical difference 2.63" in nemenyi
    assert "cannot tell any two of the methods" in words_of(FIGURES["cd, one image"]())
    clear = analysed(3, 300, effect=9)
    assert "All methods are told apart" in words_of(draw_critical_difference(clear, "SRG"))


def test_controls_are_grey():
    for name in ("cd", "forest", "curves", "ranks"):
        words = {
            word: text.get_color() for text in texts(FIGURES[name]()) for word in text.get_text().split("  ")
        }
        colours = {word.removesuffix(" (control)"): colour for word, colour in words.items()}
        assert colours["sobel"] == colours["random"] == CONTROL, name
        assert colours["mask_gradient"] != CONTROL, name


def test_the_forest_names_every_verdict():
    analysis = analysed(8, 200)
    said = words_of(draw_forest(analysis, "SRG", metric="SRG")).replace("\n", " ")
    assert "better than random, p<0.001 (Holm)" in said and "the reference" in said
    assert "200 images; higher is better" in said and "resampled 99 times" in said


def test_curves_are_drawn_where_their_values_are(tmp_path):
    x = np.linspace(0, 1, 5)
    flat = {name: mean_curve(np.full((4, 5), height), x) for name, height in {"top": 1.0, "low": 0.0}.items()}
    figure = draw_curves(flat, "Curves")
    lines = [line for line in lines_of(figure) if len(line.get_xdata()) == 5]
    heights = [set(np.round(line.get_ydata(), 6)) for line in lines]
    assert [len(height) for height in heights] == [1, 1]
    assert min(heights[0]) < min(heights[1])  # y points down: the higher value lies above
    picture = pixels(figure, tmp_path / "curves.png")
    for colour in list(CURVES.values())[:2]:
        near = np.abs(picture - np.array(to_rgb(colour)) * 255).max(-1) <= 3
        assert near.sum() > 400
    said = words_of(draw_curves(flat, "Curves"))
    assert said.index("top") < said.index("low") and "Mean of 4 images" in said


def test_a_curve_without_values_is_left_out_and_all_of_them_refused():
    x = np.linspace(0, 1, 5)
    empty = mean_curve(np.full((4, 5), np.nan), x)
    said = words_of(draw_curves({"gone": empty, "kept": mean_curve(np.ones((4, 5)), x)}, "Curves"))
    assert "kept" in said and "gone" not in said
    with pytest.raises(UsageError, match="nothing to draw"):
        draw_curves({"gone": empty}, "Curves")


def test_nothing_measured_is_nothing_to_draw():
    nothing = analyse(np.full((5, 2), np.nan), ["a", "random"])
    for draw in (
        lambda: draw_critical_difference(nothing, "SRG"),
        lambda: draw_forest(nothing, "SRG", metric="SRG"),
        lambda: draw_rank_table({"srg": nothing}, "Ranks"),
    ):
        with pytest.raises(UsageError, match="nothing to draw"):
            draw()


def test_the_rank_table_orders_by_the_first_metric_and_marks_what_beats_chance():
    first = analysed(8, 200)
    figure = draw_rank_table({"srg": first, "saco": analysed(5)}, "Ranks")
    names = {method.name for method in first.methods}
    rows = sorted(texts(figure), key=lambda text: text.get_position()[1])
    labels = [text.get_text().removesuffix(" (control)") for text in rows]
    drawn = [label for label in labels if label in names]
    assert drawn == [method.name for method in first.ranked if method.name in drawn] and len(drawn) == 7
    said = words_of(figure)
    assert "▲" in said and "○" in said and "no score" in said and "Methods in the order of srg" in said
    assert "40 to 200 images" in said


def test_agreement_is_written_in_every_cell_but_those_of_itself():
    said = words_of(FIGURES["agreement"]())
    values = agreement(5).tau
    for i, j in combinations(range(4), 2):
        assert said.count(f"{values[i][j]:.2f}".replace("-", "−")) >= 2
    assert "rankings of 6 methods" in said


def test_colours_of_curves_are_told_apart_by_everyone():
    """Machado et al. 2009, full strength; distances in CIELAB."""
    sights = {
        "normal": np.eye(3),
        "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
    }
    colours = np.array([to_rgb(colour) for colour in CURVES.values()])
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    assert (1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) >= 3).all()
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    for sight in sights.values():
        x, y, z = np.cbrt((linear @ np.array(sight).T).clip(1e-4, 1) @ to_xyz.T / [0.9505, 1, 1.089]).T
        lab = np.stack([116 * y, 500 * (x - y), 200 * (y - z)], 1)
        assert min(np.linalg.norm(one - other) for one, other in combinations(lab, 2)) > 20


def test_scales_hold_their_values_with_round_labels():
    axis = InchScale.around([0.13, 0.87, float("nan")], 1.0, 3.0)
    assert 1 < axis.at(0.13) < axis.at(0.87) < 3
    assert [label for _, label in axis.ticks()] == ["0.2", "0.4", "0.6", "0.8"]
    assert [label for _, label in InchScale(-1, 1, 0, 1).ticks(5)] == ["−1.0", "−0.5", "0.0", "0.5", "1.0"]
    flat = InchScale.around([5.0, 5.0], 0, 1)
    assert flat.at(5.0) == pytest.approx(0.5) and len(flat.ticks()) > 1
    far = [label for _, label in InchScale(1e7, 1e7 + 1, 0, 1).ticks()]
    assert len(set(far)) == len(far) > 2
    tiny = [label for _, label in InchScale(0, 2e-5, 0, 1).ticks()]
    assert len(set(tiny)) == len(tiny) > 2 and "5e-06" in tiny[1].replace("−", "-").replace("5.0e", "5e")


def test_a_column_of_numbers_has_the_decimals_its_differences_deserve():
    write = number_format([1.0, -0.5], [0.2, 0.3])
    assert [write(1.0), write(-0.5)] == ["1.000", "−0.500"]
    assert number_format([1e9], [1.0])(1234567890.0) == "1.23×10⁹"
    assert number_format([1e7], [1.0])(12345678.0) == "12345678.00"
    assert number_format([50.0], [20.0])(50.0) == "50.0"
    assert number_format([0.0], [0.0])(0.0) == "0.00"


def test_ink_stands_out_on_any_ground():
    assert ink_on((0, 0, 0)) == "white" and ink_on((0.0, 0.2, 0.5)) == "white"
    assert ink_on((1, 1, 1)) != "white" and ink_on((0.9, 0.9, 0.2)) != "white"


def test_a_chart_is_drawn_once_for_both_formats(tmp_path: Path) -> None:
    """The PNG is what matplotlib itself writes, and the SVG that of a chart drawn anew."""
    again, anew = (draw_critical_difference(analysed(5, 30, effect=2), "SRG") for _ in range(2))
    save(again, tmp_path / "a.png", keep=True)
    save(again, tmp_path / "a.svg")
    anew.savefig(tmp_path / "b.png", dpi=anew.dpi, facecolor="white")
    save(anew, tmp_path / "b.svg")
    first, second = (Image.open(tmp_path / f"{name}.png").convert("RGB") for name in "ab")
    assert (np.asarray(first) == np.asarray(second)).all()
    changing = re.compile(r'<dc:date>.*?</dc:date>|(?<=id=")\w+|(?<=#)\w+')
    first, second = (changing.sub("", (tmp_path / f"{name}.svg").read_text()) for name in "ab")
    assert first == second
    assert not again.axes and not again.artists
