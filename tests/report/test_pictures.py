"""What stands in the pictures, and that nothing in them overlaps or is cut off."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from itertools import combinations

import numpy as np
import pytest
from matplotlib.font_manager import findfont
from matplotlib.text import Text
from PIL import Image

from xai.core import DataError, UsageError
from xai.report import draw_class, draw_comparison, draw_heads, draw_layers, draw_methods, save
from xai.report.colours import DIVERGING, SEQUENTIAL
from xai.report.overlay import DrawnImage
from xai.report.picture import Label, Picture, TextLine, edges, extent
from xai.report.pictures import ExplanationPictures
from xai.report.vector import font, to_figure

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


def words_of(picture):
    return " ".join(line.text for line in picture.lines)


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


def common(one, other):
    """Pixels that two areas share, along the narrower side."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    return min(width, min(one[3], other[3]) - max(one[1], other[1]))


@pytest.mark.parametrize("kind", ["class", "comparison", "layers", "heads", "methods"])
@pytest.mark.parametrize("case", CASES)
def test_nothing_overlaps_or_is_cut_off(explained, case, kind):
    picture = draw(kind, explained(**CASES[case]))
    width, height = picture.size
    words = [(line.text, extent(line, picture.dpi)) for line in picture.lines if line.text]
    frames = [edges(layer, picture.dpi) for layer in picture.layers]
    for left, top, right, bottom in [area for _, area in words] + frames:
        assert left >= 0 and top >= 0 and right <= width and bottom <= height
    for (one, area), (other, other_area) in combinations(words, 2):
        assert common(area, other_area) < 2, (one, other)  # line boxes are a pixel tight
    labels = [edges(label, picture.dpi) for label in picture.labels]
    for text, area in words:
        if any(common(area, frame) >= 2 for frame in frames):  # what is written on a picture has a label
            assert text in ZERO
            assert any(
                label[0] < area[0] and label[1] < area[1] and area[2] < label[2] and area[3] < label[3]
                for label in labels
            )


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


def test_beside_each_other_every_method_s_doubtful_maps_are_named(explained):
    sound = {"fake": [[1, -1]], "real": [[-1, 1]]}
    even, off = {"fake": [[1, 1]], "real": [[2, 2]]}, replace(explained(sound), score_changes={"fake": 3.0})
    methods = {"a": explained(sound), "b": explained(even), "c": off}
    said = words_of(draw_methods([methods], "fake"))
    assert "map for fake (b) is nearly constant" in said and "map for fake (c) sums to 0" in said
    assert "(a)" not in said and "for real" not in said
    others = {name: explained(sound, name="other.png") for name in methods}
    said = words_of(draw_methods([methods, others], "fake"))
    assert "map for fake (c, photo.png) sums to 0" in said and "other.png)" not in said


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
    picture = draw_class(explained(**CASES["names"]), list(LONG)[1])
    assert "tiger_cat_$x^2$_{br" in words_of(picture)
    figure = to_figure(picture)
    found = [text for text in figure.findobj(Text) if "$" in text.get_text()]
    assert found and not any(text.get_parse_math() for text in found)


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


def test_two_pictures_share_what_they_both_show(explained, monkeypatch):
    blended = []
    overlay = DrawnImage.overlay

    def spy(self, values, scale):
        blended.append(self)
        return overlay(self, values, scale)

    monkeypatch.setattr(DrawnImage, "overlay", spy)
    explanation = explained(MAPS)
    pictures = ExplanationPictures(explanation)
    together = [pictures.attention("real"), pictures.attention("fake"), pictures.comparison("real", "fake")]
    pages = [picture.pixels() for picture in together]
    assert len(blended) == 4  # real, fake, difference and overlap
    assert len({id(image) for image in blended}) == 1
    alone = [draw_class(explanation, "real"), draw_class(explanation, "fake")]
    alone.append(draw_comparison(explanation, "real", "fake"))
    assert all((page == one.pixels()).all() for page, one in zip(pages, alone, strict=True))


def test_a_huge_image_is_drawn_at_the_size_at_which_it_is_shown(explained):
    picture = draw_class(explained(MAPS, size=(3000, 2000)), "real")
    for placed in picture.layers:
        left, _, right, _ = edges(placed, picture.dpi)
        assert placed.layer.draw((right - left, 40)).shape == (40, right - left, 3)
        assert right - left < 1000
    assert picture.dpi == 300


def test_pictures_are_the_same_from_any_thread(explained):
    pictures = [draw_class(explained(**CASES[case]), "fake") for case in ("wide", "crop", "signed")] * 3
    with ThreadPoolExecutor(4) as pool:
        files = list(pool.map(Picture.png, pictures))
    assert files == [picture.png() for picture in pictures]


def test_notebooks_show_a_picture(explained):
    picture = draw_class(explained(MAPS), "fake")
    shown = Image.open(BytesIO(picture._repr_png_()))
    assert shown.size == picture.size


def test_words_lie_on_labels_and_labels_on_layers(explained):
    picture = draw_class(explained({"real": np.zeros((2, 2)), "fake": np.ones((2, 2))}), "real")
    pixels, label = picture.pixels(), picture.labels[-1]
    left, top, right, bottom = edges(label, picture.dpi)
    inside = pixels[top + 2 : bottom - 2, left + 2 : right - 2]
    assert (inside == 255).all(-1).mean() > 0.6  # white
    assert inside.min() < 60  # written on
    assert tuple(pixels[top, left]) == (0x8A, 0x8A, 0x8A)


def test_words_beyond_the_page_are_cut_off():
    lines = tuple(
        TextLine("words", x, y, 10, False, "#000000", "left") for x, y in ((-0.1, -0.05), (0.9, 0.9))
    )
    pixels = Picture(1, 1, 100, (), (Label(0.4, 0.4, 0.2, 0.2),), lines).pixels()
    assert pixels.shape == (100, 100, 3)
    assert pixels[:10, :20].min() < 100 and pixels[90:, 90:].min() < 100


def test_pictures_are_drawn_without_loading_matplotlib(tmp_path):
    program = """
import sys
import numpy as np
from PIL import Image
from xai.core import Explanation, Geometry, Sample
from xai.report.pictures import draw_class
from xai.report.saving import save
sample = Sample("a", Image.new("RGB", (40, 30)), label="Größe")
maps = {"real": np.ones((2, 2), np.float32), "fake": np.zeros((2, 2), np.float32)}
geometry = Geometry((40, 30), (0, 0, 40, 30))
explanation = Explanation(sample, tuple(maps), np.zeros(2), maps, geometry, "m")
save(draw_class(explanation, "real"), "a.png")
assert not {"matplotlib", "torch", "scipy", "pandas"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    assert Image.open(tmp_path / "a.png").size
