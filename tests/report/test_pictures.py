"""What stands in the pictures, and that nothing in them overlaps or is cut off."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.font_manager import findfont
from matplotlib.text import Text
from PIL import Image

from xai.core import DataError, UsageError
from xai.report import draw_class, draw_comparison, draw_heads, draw_layers, draw_methods, save
from xai.report.overlay import DIVERGING, SEQUENTIAL
from xai.report.text import font

RNG = np.random.default_rng(0)
MAPS = {"real": RNG.random((4, 4)) * 0.3, "fake": RNG.random((4, 4))}
LONG = {
    "great white shark, white shark, man-eater, Carcharodon carcharias": MAPS["real"],
    "tiger_cat_$x^2$_{broken_name_without_a_single_space_that_goes_on": MAPS["fake"],
}
CASES = {
    "square": {"maps": MAPS},
    "wide": {"maps": MAPS, "size": (300, 200), "seen": (50, 0, 250, 200)},
    "strip": {"maps": MAPS, "size": (2000, 20)},
    "pole": {"maps": MAPS, "size": (20, 2000)},
    "one pixel": {"maps": MAPS, "size": (1, 1)},
    "zero": {"maps": {label: 0 * values for label, values in MAPS.items()}},
    "signed": {"maps": {"real": MAPS["real"] - 0.5, "fake": MAPS["fake"] - 0.5}},
    "names": {"maps": LONG, "name": "a$b_c$ " + "very long " * 20 + ".png", "label": "真实的面孔 \n$"},
    "crop": {
        "maps": MAPS,
        "size": (800, 600),
        "seen": (600, 50, 700, 150),
        "box": (600, 50, 100, 100),
        "mask": np.eye(60, 80, dtype=bool),
    },
}


ZERO = "no evidence: the map is zero, no difference: the map is zero, no overlap: the map is zero"


def texts(figure):
    return [text for text in figure.findobj(Text) if text.get_text().strip()]


def words_of(figure):
    return " ".join(text.get_text() for text in texts(figure))


def draw(kind, explanation):
    first, second = explanation.maps
    if kind == "class":
        return draw_class(explanation, first)
    if kind == "comparison":
        return draw_comparison(explanation, first, second)
    if kind == "layers":
        return draw_layers({f"layer {i}": explanation for i in range(7)}, first)
    if kind == "heads":
        maps = np.stack([np.stack([explanation.maps[first]] * 3)] * 2)
        return draw_heads(explanation, maps, ["layer 0", "layer 1"], first)
    methods = {"gradient_weighted_attention": explanation, "integrated_gradients": explanation}
    return draw_methods([methods, methods], first)


def saved(figure, path):
    save(figure, path, dpi=72)
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def count(picture, colour):
    return int((np.abs(picture - np.array(colour[:3]) * 255).max(-1) <= 2).sum())


@pytest.mark.parametrize("kind", ["class", "comparison", "layers", "heads", "methods"])
@pytest.mark.parametrize("case", CASES)
def test_nothing_overlaps_or_is_cut_off(explained, case, kind):
    figure = draw(kind, explained(**CASES[case]))
    axes = figure.axes[0]
    boxes = {text: text.get_window_extent() for text in texts(figure)}
    width, height = figure.canvas.get_width_height()
    for text, box in boxes.items():
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text.get_text()
    for (one, box), (other, other_box) in combinations(boxes.items(), 2):
        shared = box.intersection(box, other_box)
        touching = shared is None or min(shared.width, shared.height) < 2  # line boxes are a pixel tight
        assert touching, (one.get_text(), other.get_text())
    for image in axes.images:
        frame = image.get_window_extent()
        assert frame.x0 >= 0 and frame.y0 >= 0 and frame.x1 <= width and frame.y1 <= height
        for text, box in boxes.items():
            if text.get_text() not in ZERO:  # that label is meant to lie on the picture
                shared = box.intersection(box, frame)
                assert shared is None or min(shared.width, shared.height) < 2, text.get_text()


def test_class_picture_says_what_was_found_and_how(explained):
    said = words_of(draw_class(explained(MAPS, label="fake"), "fake"))
    for words in (
        "photo.png · evidence for fake: 81.8%",
        "predicted: fake (81.8%) · true class: fake",
        "scale is shared with real",
        "do not prove that a region was tampered with",
        "gradient_weighted_attention (layers last_4_layers, clamp fused)",
        "Model: demo.",
    ):
        assert words in said
    for words in ("not seen", "outline", "the map is zero"):
        assert words not in said


def test_caption_tells_what_the_lines_and_the_hatching_mean(explained):
    said = words_of(draw_class(explained(**CASES["crop"]), "fake"))
    assert "White outline: the crop" in said
    assert "Dimmed and hatched: not seen by the model." in said
    assert "Turquoise outline: the area known to be tampered with." in said


def test_zero_map_is_said_to_be_zero(explained):
    explanation = explained({"real": np.zeros((2, 2)), "fake": np.ones((2, 2))})
    assert "no evidence: the map is zero" in words_of(draw_class(explanation, "real"))
    assert "the map is zero" not in words_of(draw_class(explanation, "fake"))
    said = words_of(draw_comparison(explanation, "fake", "real"))
    assert "no evidence: the map is zero" in said and "no overlap: the map is zero" in said
    assert "no difference" not in said


def test_probabilities_are_never_rounded_to_certainty(explained):
    said = words_of(draw_comparison(explained(MAPS, logits=(0, 20)), "fake", "real"))
    assert ">99.9%" in said and "<0.1%" in said
    assert "(100%)" not in said and "fake: 100" not in said


def test_saved_class_picture_has_the_colour_of_the_common_scale(explained, tmp_path):
    explanation = explained({"real": np.full((2, 2), 0.5), "fake": np.full((2, 2), 2.0)})
    weak = saved(draw_class(explanation, "real"), tmp_path / "real.png")
    strong = saved(draw_class(explanation, "fake"), tmp_path / "fake.png")
    area = 30_000
    assert count(weak, SEQUENTIAL(0.25)) > area > count(weak, SEQUENTIAL(1.0))
    assert count(strong, SEQUENTIAL(1.0)) > area > count(strong, SEQUENTIAL(0.25))


def test_difference_is_first_minus_second(explained, tmp_path):
    explanation = explained({"real": np.zeros((2, 2)), "fake": np.ones((2, 2))}, colour=(0, 0, 0))
    orange, blue = np.array(DIVERGING(1.0)) * 0.8, np.array(DIVERGING(0.0)) * 0.8  # 0.8 opaque over black
    one = saved(draw_comparison(explanation, "fake", "real"), tmp_path / "one.png")
    other = saved(draw_comparison(explanation, "real", "fake"), tmp_path / "other.png")
    assert count(one, orange) > 20_000 > count(one, blue)
    assert count(other, blue) > 20_000 > count(other, orange)


def test_layers_share_one_scale_and_methods_do_not(explained, tmp_path):
    strong = explained({"fake": np.ones((2, 2))}, labels=("real", "fake"), colour=(0, 0, 0))
    weak = explained({"fake": np.full((2, 2), 0.01)}, labels=("real", "fake"), colour=(0, 0, 0))
    hottest = np.array(SEQUENTIAL(1.0)) * 0.8
    figure = draw_layers({"a": strong, "b": weak}, "fake")
    assert "peak 1.0% of scale" in words_of(figure)
    shared = saved(figure, tmp_path / "b.png")
    left, right = np.array_split(shared, 2, axis=1)
    assert count(left, hottest) > 20_000 > 0 == count(right, hottest)
    figure = draw_methods([{"a": strong, "b": weak}], "fake")
    assert "Each map has its own scale" in words_of(figure).replace("\n", " ")
    methods = saved(figure, tmp_path / "c.png")
    _, left, right = np.array_split(methods, 3, axis=1)
    assert min(count(left, hottest), count(right, hottest)) > 20_000


def test_heads_lie_from_left_to_right_and_layers_from_top_to_bottom(explained, tmp_path):
    maps = np.zeros((2, 3, 2, 2))
    maps[1, 2] = 1
    figure = draw_heads(explained(MAPS, colour=(0, 0, 0)), maps, ["layer 4", "layer 5"], "fake")
    assert "layer 4: heads 0 to 2" in words_of(figure)
    picture = saved(figure, tmp_path / "heads.png")
    hot = np.abs(picture - np.array(SEQUENTIAL(1.0)[:3]) * 0.8 * 255).max(-1) <= 2
    rows, cols = np.nonzero(hot)
    assert cols.min() > 0.6 * picture.shape[1] and rows.min() > 0.4 * picture.shape[0]


def test_names_are_not_read_as_mathematics(explained):
    figure = draw_class(explained(**CASES["names"]), list(LONG)[1])
    assert "tiger_cat_$x^2$_{br" in words_of(figure)
    assert not any(text.get_parse_math() for text in texts(figure))


def test_characters_without_a_font_become_escapes(explained, monkeypatch):
    monkeypatch.setattr("xai.report.text._installed", lambda: ())
    assert r"\u771f" in words_of(draw_class(explained({"真": [[1]], "b": [[0]]}), "真"))


@pytest.mark.parametrize(
    "function", [draw_class, lambda explanation, label: draw_layers({"a": explanation}, label)]
)
def test_unknown_class_names_the_nearest(explained, function):
    with pytest.raises(UsageError, match=r"(?s)'fakee'.*fake"):
        function(explained(MAPS), "fakee")


def test_a_map_that_is_no_number_is_refused(explained):
    with pytest.raises(DataError, match="NaN"):
        draw_comparison(explained({"real": [[1, np.nan]], "fake": [[0, 1]]}), "fake", "real")


def test_fallback_fonts_are_asked_for_in_the_weight_they_have(monkeypatch, caplog):
    monkeypatch.setattr(
        "xai.report.text._installed", lambda: ("DejaVu Sans Display",)
    )  # comes in one weight only
    for name in font("真", 9, bold=True).get_family():
        alone = font("真", 9, bold=True)
        alone.set_family(name)
        findfont(alone)
    assert not caplog.records
    assert font("real", 9, bold=True).get_weight() == "bold"
