"""What is written into a page can be read back, as exactly as it says."""

from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from xai.core import DataError
from xai.report.encode import encode_grid, encode_mask, encode_order, encode_picture, encode_stack


def grid_of(grid):
    codes = np.frombuffer(b64decode(grid.values), "<i2").reshape(grid.rows, grid.cols)
    return codes / 32767 * grid.limit


def picture_of(uri, kind):
    head, content = uri.split(",", 1)
    assert head == f"data:image/{kind};base64"
    return Image.open(BytesIO(b64decode(content)))


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1, 3e20])
def test_a_map_is_exact_to_a_65534th_of_its_limit(scale):
    values = (np.random.default_rng(0).normal(size=(7, 9)) * scale).astype(np.float32)
    grid = encode_grid(values)
    assert (grid.rows, grid.cols, grid.limit) == (7, 9, float(np.abs(values).max()))
    found = grid_of(grid)
    assert np.abs(found - values).max() <= grid.limit / 65534 * (1 + 1e-9)
    assert np.abs(found).max() == pytest.approx(grid.limit, rel=1e-15)
    assert encode_grid(found).values == grid.values


def test_zero_stays_zero_and_signs_stay():
    zero = encode_grid(np.zeros((2, 3)))
    assert zero.limit == 0 and not grid_of(zero).any()
    assert np.sign(grid_of(encode_grid(np.array([[-1.0, 0.0, 1.0]])))).tolist() == [[-1, 0, 1]]


def test_rows_come_before_columns():
    values = np.arange(6.0).reshape(2, 3)
    assert np.rint(grid_of(encode_grid(values.T))).tolist() == values.T.tolist()


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_map_that_is_not_finite_is_one_clear_error(broken):
    values = np.ones((2, 2))
    values[0, 1] = broken
    with pytest.raises(DataError, match="holds NaN or infinity and cannot be drawn"):
        encode_grid(values)


def test_layers_and_heads_are_exact_to_a_254th_of_their_limit():
    values = np.random.default_rng(1).normal(size=(3, 2, 4, 5))
    stack = encode_stack(values)
    assert (stack.layers, stack.heads, stack.rows, stack.cols) == values.shape
    found = np.frombuffer(b64decode(stack.values), "i1").reshape(values.shape) / 127 * stack.limit
    assert np.abs(found - values).max() <= stack.limit / 254 * (1 + 1e-9)


def test_orders_of_many_patches():
    order = np.random.default_rng(2).permutation(40_000)
    assert np.frombuffer(b64decode(encode_order(order)), "<u2").tolist() == order.tolist()


def test_a_picture_is_small_and_keeps_its_aspect():
    image = Image.linear_gradient("L").resize((600, 300))
    found = picture_of(encode_picture(image, 200), "webp")
    assert found.size == (200, 100)
    expected = np.asarray(image.resize((200, 100)), float)
    assert np.abs(np.asarray(found.convert("L"), float) - expected).mean() < 3
    assert picture_of(encode_picture(image, 2000), "webp").size == (600, 300)


def test_a_mask_is_black_and_white_and_can_be_cut():
    mask = np.zeros((40, 80), bool)
    mask[10:20, 40:60] = True
    whole = np.asarray(picture_of(encode_mask(mask, (40, 20)), "png"))
    assert whole.shape == (20, 40)
    assert (whole == mask[::2, ::2]).all()
    cut = np.asarray(picture_of(encode_mask(mask, (20, 10), (30, 6, 70, 26)), "png"))
    assert (cut == mask[6:26, 30:70][::2, ::2]).all()
