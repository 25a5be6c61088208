"""Regions: their size, their place, their edges."""

import numpy as np
import pytest
from scipy import stats

from xai.data import regions
from xai.data.regions import (
    MAX_AREA,
    MIN_AREA,
    OUTLINES,
    face_alpha,
    outline_alpha,
    random_alpha,
    rim_alpha,
    rim_of,
    soft_alpha,
)


@pytest.mark.parametrize("area", [0.05, 0.2])
@pytest.mark.parametrize("outline", OUTLINES)
def test_outlines_are_drawn_at_the_wanted_size_and_place(outline, area):
    alpha = outline_alpha((200, 300), outline(np.random.default_rng(1)), (150, 100), area, softness=0)
    rows, cols = np.nonzero(alpha)
    assert alpha.mean() == pytest.approx(area, rel=0.1)
    assert abs(cols.mean() - 150) < 12 and abs(rows.mean() - 100) < 12


@pytest.mark.parametrize("draw", [random_alpha, soft_alpha])
def test_random_masks_are_2_to_30_percent_and_lie_anywhere(draw):
    height, width, rng = 64, 96, np.random.default_rng(0)
    masks = np.stack([draw(height, width, rng) >= 0.5 for _ in range(400)])
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


@pytest.mark.parametrize("draw", [random_alpha, soft_alpha, rim_alpha])
def test_the_centres_are_uniform_over_the_image(draw, monkeypatch):
    """2000 regions: their centres pass a Kolmogorov-Smirnov test per axis and a chi-square test on 5 × 5."""
    drawn = []

    def spy(size, outline, centre, area, softness):
        drawn.append(centre)
        return outline_alpha(size, outline, centre, area, softness)

    monkeypatch.setattr(regions, "outline_alpha", spy)
    side, rng = 64, np.random.default_rng(1)
    accepted = []
    for _ in range(2000):
        draw(side, side, rng)
        accepted.append(drawn[-1])
    assert len(drawn) < 1.06 * len(accepted), "hardly any is drawn again, so hardly any place is favoured"
    places = np.array(accepted) / side
    for axis in (0, 1):
        assert stats.kstest(places[:, axis], "uniform").pvalue > 0.01
    counts = np.histogram2d(*places.T, bins=5, range=[[0, 1], [0, 1]])[0].ravel()
    assert stats.chisquare(counts).pvalue > 0.01


def test_edges_are_hard_and_soft_in_equal_shares():
    rng = np.random.default_rng(0)
    soft = np.mean([len(np.unique(random_alpha(64, 64, rng))) > 2 for _ in range(200)])
    assert 0.4 < soft < 0.6
    assert all(len(np.unique(soft_alpha(64, 64, rng))) > 2 for _ in range(20))


def test_a_rim_follows_the_outline_on_both_sides():
    region = np.zeros((100, 100), np.float32)
    region[:, 50:] = 1
    rim = rim_of(region, width=3)
    assert rim.max() == pytest.approx(1, abs=0.02)
    assert np.allclose(rim, rim[:1]), "the image's own border is no outline"
    inside = np.flatnonzero(rim[0] >= 0.5)
    assert (inside.min(), inside.max()) == (
        pytest.approx(49.5 - 3.15, abs=1),
        pytest.approx(49.5 + 3.15, abs=1),
    )
    assert rim[0, :38].max() < 0.02 and rim[0, 62:].max() < 0.02


def test_a_face_is_in_the_middle_of_its_portrait():
    rng = np.random.default_rng(0)
    masks = np.stack([face_alpha(224, 224, rng) >= 0.5 for _ in range(100)])
    areas = masks.mean(axis=(1, 2))
    assert areas.min() > 0.11 and areas.max() < 0.25
    assert masks[:, 96:136, 96:128].all(), "nose and eyes are always inside"
    assert not masks[:, [0, -1]].any() and not masks[:, :, [0, -1]].any()
    heights, widths = masks.any(axis=2).sum(axis=1), masks.any(axis=1).sum(axis=1)
    assert ((heights / widths > 1.2) & (heights / widths < 1.5)).all()
