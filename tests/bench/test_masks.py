import numpy as np
import pytest
from PIL import Image

from xai.bench.run.masks import input_mask
from xai.core import Geometry
from xai.models import Preprocessing


def project(mask: np.ndarray, **steps) -> np.ndarray:
    preprocessing = Preprocessing(**steps)
    size = (mask.shape[1], mask.shape[0])
    image = preprocessing(Image.new("RGB", size))
    return input_mask(mask, preprocessing.geometry(size), tuple(image.shape[1:]))


def test_nothing_changes_where_nothing_is_resized():
    mask = np.random.default_rng(0).random((7, 5)) < 0.5
    assert (project(mask, size=(7, 5)) == mask).all()


def test_a_centre_crop_is_cut_out():
    mask = np.random.default_rng(0).random((12, 20)) < 0.5
    assert (project(mask, crop=(8, 8)) == mask[2:10, 6:14]).all()


def test_padding_is_not_masked():
    found = project(np.ones((4, 6), bool), crop=(8, 8))
    expected = np.zeros((8, 8), bool)
    expected[2:6, 1:7] = True
    assert (found == expected).all()


def test_reducing_takes_the_majority_of_the_area():
    mask = np.zeros((4, 4), bool)
    mask[0, 0] = True  # a quarter of the first pixel
    mask[0:2, 2:3] = True  # half of the second
    mask[2:4, 2:4] = True
    assert (project(mask, size=(2, 2)) == [[False, True], [False, True]]).all()


def test_enlarging_repeats():
    mask = np.array([[True, False], [False, True]])
    assert (project(mask, size=(4, 6)) == np.kron(mask, np.ones((2, 3), bool))).all()


@pytest.mark.parametrize("steps", [{"shortest_edge": 32, "crop": (24, 24)}, {"size": (16, 16)}])
def test_a_mask_goes_where_the_same_picture_goes(steps):
    """Oracle: the mask drawn as a picture and sent through the real preprocessing with a box filter."""
    y, x = np.mgrid[:90, :120]
    mask = ((x - 50) / 30) ** 2 + ((y - 40) / 22) ** 2 < 1
    picture = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).convert("RGB")
    seen = Preprocessing(**steps, interpolation="box")(picture)[0].numpy()
    found = project(mask, **steps)
    sure = np.abs(seen - 0.5) > 0.15  # the picture is rounded to whole pixels on its way
    assert sure.mean() > 0.9
    assert (found[sure] == (seen[sure] > 0.5)).all()


def test_a_box_inside_a_larger_image():
    mask = np.zeros((40, 60), bool)
    mask[10:20, 30:50] = True
    geometry = Geometry.resize_crop((20, 10), (20, 10), None).within((60, 40), (30, 10))
    assert input_mask(mask, geometry, (10, 20)).all()
