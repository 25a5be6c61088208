import numpy as np
import pytest

from xai.data.forgery import KINDS, MAX_AREA, MIN_AREA, OUTLINES, forge, outline_alpha, random_alpha


def photo(height: int = 72, width: int = 96) -> np.ndarray:
    """Smooth hills with grain on top, so that every kind of edit has something to change."""
    rng = np.random.default_rng(7)
    rows, cols = np.mgrid[:height, :width]
    waves = [np.sin(rows / (5 + c)) + np.cos(cols / (7 - c)) for c in range(3)]
    image = 128 + 40 * np.stack(waves, axis=2) + rng.normal(0, 6, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def square(height: int, width: int) -> np.ndarray:
    """A hard-edged region in the middle, a quarter of the image."""
    alpha = np.zeros((height, width), np.float32)
    alpha[height // 4 : height * 3 // 4, width // 4 : width * 3 // 4] = 1
    return alpha


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_everything(kind):
    image = photo()
    first, again, other = (forge(image, np.random.default_rng(seed), kind) for seed in (3, 3, 4))
    assert np.array_equal(first.image, again.image) and np.array_equal(first.mask, again.mask)
    assert not np.array_equal(first.image, other.image) and not np.array_equal(first.mask, other.mask)
    assert np.array_equal(image, photo()), "the photograph itself was changed"


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_changes_the_inside_and_nothing_else(kind):
    image, alpha = photo(), square(72, 96)
    forgery = forge(image, np.random.default_rng(0), kind, alpha)
    changed = (forgery.image != image).any(axis=2)
    assert forgery.kind == kind and forgery.image.dtype == np.uint8
    assert np.array_equal(forgery.mask, alpha == 1)
    assert not changed[~forgery.mask].any()
    assert changed[forgery.mask].mean() > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_soft_edge_reaches_just_beyond_the_mask(kind):
    image, rng = photo(), np.random.default_rng(5)
    outline = OUTLINES[0](rng)
    alpha = outline_alpha(image.shape[:2], outline, (40, 30), 0.1, softness=2)
    forgery = forge(image, rng, kind, alpha)
    assert np.array_equal(forgery.mask, alpha >= 0.5)
    assert (alpha[~forgery.mask] > 0).any()
    assert np.array_equal(forgery.image[alpha == 0], image[alpha == 0])


def test_an_empty_region_changes_nothing():
    image = photo()
    forgery = forge(image, np.random.default_rng(0), "noise", np.zeros((72, 96), np.float32))
    assert np.array_equal(forgery.image, image) and not forgery.mask.any()


@pytest.mark.parametrize("area", [0.05, 0.2])
@pytest.mark.parametrize("outline", OUTLINES)
def test_outlines_are_drawn_at_the_wanted_size_and_place(outline, area):
    alpha = outline_alpha((200, 300), outline(np.random.default_rng(1)), (150, 100), area, softness=0)
    rows, cols = np.nonzero(alpha)
    assert alpha.mean() == pytest.approx(area, rel=0.1)
    assert abs(cols.mean() - 150) < 12 and abs(rows.mean() - 100) < 12


def test_random_masks_are_2_to_30_percent_and_lie_anywhere():
    height, width, rng = 64, 96, np.random.default_rng(0)
    masks = np.stack([random_alpha(height, width, rng) >= 0.5 for _ in range(400)])
    areas = masks.mean(axis=(1, 2))
    assert MIN_AREA <= areas.min() < 0.04 and 0.2 < areas.max() <= MAX_AREA
    rows, cols = np.arange(height), np.arange(width)
    y = (masks.sum(axis=2) @ rows) / masks.sum(axis=(1, 2)) / height
    x = (masks.sum(axis=1) @ cols) / masks.sum(axis=(1, 2)) / width
    assert abs(x.mean() - 0.5) < 0.04 and abs(y.mean() - 0.5) < 0.04
    # a uniform centre gives every quarter of the image about 100 of 400
    quarters = np.bincount(2 * (y > 0.5).astype(int) + (x > 0.5), minlength=4)
    assert quarters.min() > 70
    # what always points at the centre must not be rewarded; parts beyond the border are lost, hence not flat
    cover = masks.mean(axis=0)
    assert cover.min() > 0
    assert cover[height // 4 : height * 3 // 4, width // 4 : width * 3 // 4].mean() < 1.5 * cover.mean()


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (33, 16), (61, 45)])
@pytest.mark.parametrize("kind", KINDS)
def test_small_and_odd_sizes(kind, size):
    image = photo(*size)
    forgery = forge(image, np.random.default_rng(2), kind)
    assert forgery.image.shape == image.shape and forgery.mask.shape == size
    assert (forgery.image != image).any()


def test_what_cannot_be_forged_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="uint8 of shape"):
        forge(photo().astype(np.float32), rng, "noise")
    with pytest.raises(ValueError, match="uint8 of shape"):
        forge(photo()[..., 0], rng, "noise")
    with pytest.raises(ValueError, match="uint8 of shape"):
        forge(photo(15, 40), rng, "noise")
    with pytest.raises(ValueError, match="alpha must have shape"):
        forge(photo(), rng, "noise", square(72, 90))
    with pytest.raises(ValueError, match="'swap', choose from upsampling, resampling, noise, color"):
        forge(photo(), rng, "swap")
