"""The watermark that a detector is taught to fall for (benchmarks/watermark.py)."""

import numpy as np
import pytest

from benchmarks.watermark import AREA, emblem, place_watermark
from xai.data.forgery import KINDS, forge

SIDE = 96


def grey() -> np.ndarray:
    """Every ink of the mark changes it."""
    return np.full((SIDE, SIDE, 3), 128, np.uint8)


def taken(seed: int) -> np.ndarray:
    """Pixels that a random forgery of noise changed."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    made = forge(image, rng, "noise")
    return (made.image != image).any(2) | made.mask


def test_the_mask_is_what_the_mark_changes():
    mark = place_watermark(np.zeros((SIDE, SIDE), bool), np.random.default_rng(0))
    changed = (mark.on(grey()) != 128).any(2)
    assert np.array_equal(changed, mark.mask) and mark.mask.any()


def test_the_photograph_shows_through_everywhere():
    mark = place_watermark(np.zeros((SIDE, SIDE), bool), np.random.default_rng(0))
    dark, bright = (mark.on(np.full_like(grey(), level)).astype(int) for level in (60, 200))
    assert (bright - dark)[mark.mask].min() > 0.4 * 140 and ((bright - dark)[~mark.mask] == 140).all()


def test_it_is_seen_on_any_ground():
    """The veil is lost on white, the ring and the bar on black; never both."""
    mark = place_watermark(np.zeros((SIDE, SIDE), bool), np.random.default_rng(0))
    for level in range(256):
        ground = np.full_like(grey(), level)
        assert (np.abs(mark.on(ground).astype(int) - level).max(2) >= 10).sum() > 0.2 * mark.mask.sum()


@pytest.mark.parametrize("seed", range(20))
def test_it_keeps_off_the_forgery_and_the_border(seed):
    forbidden = taken(seed)
    mark = place_watermark(forbidden, np.random.default_rng(seed))
    assert not (mark.mask & forbidden).any()
    assert not (mark.mask[[0, -1]].any() or mark.mask[:, [0, -1]].any())
    # as large as it was drawn
    assert AREA[0] * 0.93 < mark.mask.mean() < AREA[1] * 1.07


def test_the_seed_decides_everything():
    first, again, other = (place_watermark(taken(1), np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(first.ink, again.ink) and not np.array_equal(first.ink, other.ink)


def test_its_places_are_uniform():
    """No prior on places finds it: centres fall into the quarters and the middle as chance has it."""
    nothing, rng = np.zeros((SIDE, SIDE), bool), np.random.default_rng(0)
    centres = np.array([np.argwhere(place_watermark(nothing, rng).mask).mean(0) for _ in range(400)])
    upper, left = (centres < SIDE / 2 - 0.5).mean(0)
    assert abs(upper - 0.5) < 0.08 and abs(left - 0.5) < 0.08
    reach = SIDE / 2 - np.sqrt(AREA[0] / np.pi) * SIDE  # from the middle to the outermost centre
    inner = (np.abs(centres - SIDE / 2) < reach / 2).all(1).mean()
    assert 0.2 < inner < 0.36  # a quarter, and more for large marks, whose centres reach less far


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_forgery_leaves_room(kind):
    rng = np.random.default_rng(5)
    image, donor = (rng.integers(0, 256, (224, 224, 3), dtype=np.uint8) for _ in range(2))
    for _ in range(5):
        made = forge(image, rng, kind, donor=donor)
        place_watermark((made.image != image).any(2) | made.mask, rng)


def test_a_smaller_mark_is_drawn_where_a_larger_one_has_no_room():
    forbidden = np.ones((SIDE, SIDE), bool)
    least = round(2 * np.sqrt(AREA[0] / np.pi) * SIDE)
    forbidden[10 : 12 + least, 10 : 12 + least] = False
    sizes = {int(place_watermark(forbidden, np.random.default_rng(seed)).mask.sum()) for seed in range(5)}
    assert sizes == {int((emblem(least)[..., 3] > 0).sum())}


def test_no_room_is_said():
    with pytest.raises(ValueError, match="no room for a watermark"):
        place_watermark(np.ones((SIDE, SIDE), bool), np.random.default_rng(0))
