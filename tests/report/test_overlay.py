"""Pixels read back: the right colour at the right place."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import LinearSegmentedColormap

from xai.core import DataError, Geometry
from xai.report.colours import BLUE_ORANGE, COLOURS, DIVERGING, SEQUENTIAL, ColourScale
from xai.report.overlay import LARGEST, SMALLEST, DrawnImage, close_view
from xai.report.words import conditions


def rgb(colormap, share):
    return np.array(colormap(float(share))[:3]) * 255


def colourfulness(picture):
    return np.ptp(picture.astype(int), axis=-1)


@pytest.mark.parametrize("name", ["inferno", "viridis", "cividis"])
def test_colours_are_those_of_matplotlib(name):
    shares = np.linspace(-0.2, 1.2, 1000)
    assert np.abs(COLOURS[name](shares) - colormaps[name](shares)[:, :3]).max() < 0.51 / 255


def test_two_colours_meet_in_the_middle():
    ends = LinearSegmentedColormap.from_list("", [f"#{colour}" for colour in BLUE_ORANGE])
    shares = np.linspace(0, 1, 1001)
    assert np.abs(DIVERGING(shares) - ends(shares)[:, :3]).max() < 1e-6


def test_blending_is_as_good_as_without_steps(explained):
    """The picture against the formula for each pixel, in floating point."""
    values = np.random.default_rng(1).standard_normal((5, 7)).astype(np.float32)
    explanation = explained({"real": values}, size=(300, 200), colour=(200, 90, 30))
    image, scale = DrawnImage(explanation), ColourScale.of([values])
    projected = explanation.geometry.project(values, image.size)
    opacity = 0.8 * (1 - (1 - scale.strength(projected)[..., None] ** 1.25) ** 4)
    grey = 0.85 * (0.299 * 200 + 0.587 * 90 + 0.114 * 30) / 255
    exact = (grey * (1 - opacity) + scale.colours(projected) * opacity) * 255
    difference = np.abs(image.overlay(values, scale) - exact)
    assert difference.mean() < 0.4 and np.percentile(difference, 99.9) < 2


@pytest.mark.parametrize("value", [0.0, 0.25, 0.6, 1.0])
def test_heatmap_has_the_colour_of_the_value(explained, value):
    picture = DrawnImage(explained({"real": [[0]]})).heatmap(np.full((4, 4), value), ColourScale(1.0))
    assert np.abs(picture - rgb(SEQUENTIAL, value)).max() <= 1


def test_heatmap_has_each_patch_at_its_place(explained):
    values = np.arange(6).reshape(2, 3) / 5
    picture = DrawnImage(explained({"real": values}, size=(300, 200))).heatmap(values, ColourScale(1.0))
    height, width = picture.shape[:2]
    for row, col in np.ndindex(2, 3):
        pixel = picture[int((row + 0.5) / 2 * height), int((col + 0.5) / 3 * width)]
        assert np.abs(pixel - rgb(SEQUENTIAL, values[row, col])).max() <= 3


def test_signed_maps_diverge_symmetrically_from_zero(explained):
    values = np.array([[-0.5, 0.0, 0.25]])
    scale = ColourScale.of([values])
    assert (scale.low, scale.limit, scale.signed) == (-0.5, 0.5, True)
    picture = DrawnImage(explained({"real": values}, size=(300, 100))).heatmap(values, scale)
    width = picture.shape[1]
    against, nothing, speaks = (picture[10, int(width * (i + 0.5) / 3)] for i in range(3))
    assert against[2] > against[0] and speaks[0] > speaks[2]
    assert np.ptp(nothing.astype(int)) <= 2
    assert np.abs(speaks - rgb(DIVERGING, 0.75)).max() <= 3


def test_rounding_below_zero_does_not_make_a_map_signed():
    assert not ColourScale.of([np.array([-1e-9, 1.0])]).signed


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_map_that_is_no_number_is_refused(bad):
    with pytest.raises(DataError, match="NaN or infinity"):
        ColourScale.of([np.array([0.0, bad])])


def test_colours_are_told_apart_without_hue():
    """Lightness rises steadily along the sequential map and falls on both sides of the diverging one."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    ramp = np.linspace(0, 1, 33)
    assert (np.diff(SEQUENTIAL(ramp)[:, :3] @ weights) > 0).all()
    lightness = DIVERGING(ramp)[:, :3] @ weights
    assert (np.diff(lightness[:17]) > 0).all() and (np.diff(lightness[16:]) < 0).all()
    assert abs(lightness[0] - lightness[-1]) < 0.08


def test_the_weaker_map_is_paler_on_the_common_scale(explained):
    image, scale = DrawnImage(explained({"real": [[0]]})), ColourScale(1.0)
    bare, faint, weak, strong = (
        colourfulness(image.overlay(np.full((3, 3), value), scale)).mean() for value in (0, 0.15, 0.4, 1)
    )
    assert bare == 0
    assert 8 < faint < weak < strong


def test_a_zero_map_leaves_the_grey_image(explained):
    explanation = explained({"real": np.zeros((3, 3))}, colour=(200, 30, 30))
    picture = DrawnImage(explanation).overlay(explanation.maps["real"], ColourScale(0.0))
    assert colourfulness(picture).max() == 0 and np.ptp(picture) == 0


def test_hot_patch_lies_where_the_model_saw_it_through_a_crop(explained):
    values = np.zeros((4, 4))
    values[1, 3] = 1  # its centre: x = 100 + 3.5/4·200 = 275, y = 1.5/4·200 = 75
    explanation = explained({"fake": values}, size=(400, 200), seen=(100, 0, 300, 200))
    picture = DrawnImage(explanation).overlay(values, ColourScale(1.0))
    rows, cols = np.nonzero(colourfulness(picture) > 100)
    factor = picture.shape[1] / 400
    assert abs(cols.mean() / factor - 275) < 10 and abs(rows.mean() / factor - 75) < 10
    assert cols.max() < 300 * factor and cols.min() > 225 * factor


def test_what_the_model_did_not_see_has_no_colour_and_is_dimmed(explained):
    explanation = explained({"fake": np.ones((4, 4))}, size=(400, 200), seen=(100, 0, 300, 200))
    image = DrawnImage(explanation)
    left = image.size[0] // 4
    assert not image.visible[:, : left - 1].any() and image.visible[:, left + 1 : 3 * left - 1].all()
    for picture in (
        image.overlay(explanation.maps["fake"], ColourScale(1.0)),
        image.heatmap(explanation.maps["fake"], ColourScale(1.0)),
    ):
        assert colourfulness(picture[:, : left - 1]).max() == 0
        assert colourfulness(picture[:, left + 1 : 3 * left - 1]).min() > 50
        assert picture[:, : left - 1].mean() > 1.3 * 0.85 * 120
        assert picture[:, : left - 1].std() > 3  # hatched


def test_true_mask_is_outlined_not_filled(explained):
    mask = np.zeros((50, 100), bool)
    mask[10:40, 20:60] = True
    explanation = explained({"fake": np.zeros((2, 2))}, size=(200, 100), mask=mask)
    picture = DrawnImage(explanation).overlay(explanation.maps["fake"], ColourScale(1.0)).astype(int)
    line = np.argwhere((picture[..., 1] > 200) & (picture[..., 0] < 60))
    factor = picture.shape[0] / 50
    assert np.abs(line.min(0) / factor - (10, 20)).max() < 1
    assert np.abs((line.max(0) + 1) / factor - (40, 60)).max() < 1
    assert np.ptp(picture[int(25 * factor), int(40 * factor)]) == 0


def test_clicks_are_circles_as_large_as_what_counts_as_a_hit(explained):
    """15/224 of the shorter side that the model saw, here of 112 pixels: 7.5."""
    explanation = explained({"fake": np.zeros((2, 2))}, size=(200, 112))
    sample = replace(explanation.sample, clicks=np.array([[49.5, 39.5], [149.5, 59.5]]))
    explanation = replace(explanation, sample=sample)
    picture = DrawnImage(explanation).overlay(explanation.maps["fake"], ColourScale(1.0)).astype(int)
    line = np.argwhere((picture[..., 1] > 200) & (picture[..., 0] < 60)) * (112 / picture.shape[0])
    first = line[line[:, 1] < 100]
    assert np.abs(first.min(0) - (32.5, 42.5)).max() < 1 and np.abs(first.max(0) - (47.5, 57.5)).max() < 1
    assert len(line) > len(first) and "clicked" in " ".join(conditions(explanation, DrawnImage(explanation)))


def test_crop_is_outlined_on_the_whole_image(explained):
    box = (50, 20, 80, 60)
    explanation = explained(
        {"fake": np.ones((2, 2))}, size=(200, 100), seen=(50, 20, 130, 80), box=box, colour=(20, 40, 90)
    )
    picture = DrawnImage(explanation).original
    white = np.argwhere((picture == 255).all(-1)) * (100 / picture.shape[0])
    assert np.abs(white.min(0) - (20, 50)).max() < 1
    assert np.abs(white.max(0) - (80, 130)).max() < 1
    assert tuple(picture[picture.shape[0] // 2, int(picture.shape[1] * 0.45)]) == (20, 40, 90)


def test_a_small_crop_is_drawn_enlarged_at_its_place(explained):
    explanation = explained(
        {"fake": np.ones((2, 2))}, size=(1000, 1000), seen=(900, 0, 1000, 100), box=(900, 0, 100, 100)
    )
    view = close_view(explanation)
    assert view == (875, 0, 1000, 125)
    image = DrawnImage(explanation, view)
    rows, cols = np.nonzero(image.visible)
    assert np.allclose((rows.max() + 1, cols.min()), (0.8 * SMALLEST, 0.2 * SMALLEST), atol=1)
    large = explained({"fake": [[1]]}, size=(100, 100), seen=(0, 0, 50, 50), box=(0, 0, 50, 50))
    assert close_view(large) is None


@pytest.mark.parametrize(
    ("size", "drawn"),
    [
        ((1, 1), (SMALLEST, SMALLEST)),
        ((4000, 1), (LARGEST, 1)),
        ((1, 300), (2, SMALLEST)),
        ((1000, 500), (1000, 500)),
        ((6000, 4000), (LARGEST, 1067)),
    ],
)
def test_maps_are_projected_at_the_drawn_size_only(explained, monkeypatch, size, drawn):
    projected, project = [], Geometry.project

    def spy(self, patches, size=None):
        projected.append(size or self.size)
        return project(self, patches, size)

    monkeypatch.setattr(Geometry, "project", spy)
    explanation = explained({"fake": np.ones((2, 2))}, size=size)
    image = DrawnImage(explanation)
    picture = image.overlay(explanation.maps["fake"], ColourScale(1.0))
    assert picture.shape == (drawn[1], drawn[0], 3) == (*image.original.shape[:2], 3)
    assert set(projected) == {drawn}
