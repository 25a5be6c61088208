from hashlib import sha256

import numpy as np
import pytest

from xai.data.edits import MAX_OVERLAP, Scene, copy_move, seam, splice
from xai.data.forgery import KINDS, MAX_STRENGTH, forge
from xai.data.regions import OUTLINES, outline_alpha, random_alpha, rim_of


def photo(height: int = 72, width: int = 96, seed: int = 7) -> np.ndarray:
    """Smooth hills with grain on top, so that every kind of edit has something to change."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[:height, :width]
    waves = [np.sin(rows / (5 + c) + seed - 7) + np.cos(cols / (7 - c)) for c in range(3)]
    image = 128 + 40 * np.stack(waves, axis=2) + rng.normal(0, 6, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def square(height: int, width: int) -> np.ndarray:
    """A hard-edged region in the middle, a quarter of the image."""
    alpha = np.zeros((height, width), np.float32)
    alpha[height // 4 : height * 3 // 4, width // 4 : width * 3 // 4] = 1
    return alpha


def forged(seed: int, kind: str, alpha=None, size=(72, 96)):
    return forge(photo(*size), np.random.default_rng(seed), kind, alpha, donor=photo(*size, seed=8))


DIGESTS = {
    "upsampling": "55d7744a710fab93",
    "resampling": "5ca01b0a66102871",
    "noise": "cb950613771fc093",
    "color": "690f318b8cba12bf",
    "blur": "27ae59e961caad8c",
    "self_blend": "d4ebf8666a7484ca",
    "splice": "ebe0bd87d4c7f1c1",
    "copy_move": "965cfdea5c8a7d8f",
    "face_swap": "331ee64988078349",
    "seam": "295fdea39152b000",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_the_same_to_the_byte(kind):
    """Detectors were trained and benchmarks published on these: a changed digest is another data set."""
    parts = []
    for seed in range(8):
        one = forged(seed, kind)
        parts.append(sha256(one.image.tobytes() + np.packbits(one.mask).tobytes()).hexdigest()[:16])
    assert sha256("".join(parts).encode()).hexdigest()[:16] == DIGESTS[kind]


REDRAWN = ("upsampling", "resampling", "noise", "color", "blur", "self_blend")


@pytest.mark.parametrize("kind", KINDS)
def test_strength_makes_traces_plainer_and_leaves_foreign_content_alone(kind):
    host, donor = photo(), photo(seed=8)
    changes = []
    for strength in (0.5, 1.0, 2.0):
        made = [
            forge(host, np.random.default_rng(seed), kind, square(72, 96), donor, strength).image
            for seed in range(12)
        ]
        changes.append(np.abs(np.array(made) - host.astype(np.float32)).mean())
    strongest = forge(host, np.random.default_rng(0), kind, square(72, 96), donor, MAX_STRENGTH).image
    assert np.abs(strongest.astype(int) - host).mean() >= 0.5 * changes[2] > 0
    if kind in REDRAWN:
        assert changes[0] < changes[1] < changes[2]
    else:
        assert changes[0] == changes[1] == changes[2] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_everything(kind):
    first, again, other = (forged(seed, kind) for seed in (3, 3, 4))
    assert np.array_equal(first.image, again.image) and np.array_equal(first.mask, again.mask)
    assert not np.array_equal(first.image, other.image) and not np.array_equal(first.mask, other.mask)


@pytest.mark.parametrize("kind", KINDS)
def test_the_photographs_themselves_are_left_alone(kind):
    image, donor = photo(), photo(seed=8)
    forge(image, np.random.default_rng(0), kind, donor=donor)
    assert np.array_equal(image, photo()) and np.array_equal(donor, photo(seed=8))


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_changes_the_inside_and_nothing_else(kind):
    alpha = square(72, 96)
    forgery = forged(0, kind, alpha)
    changed = (forgery.image != photo()).any(axis=2)
    assert forgery.kind == kind and forgery.image.dtype == np.uint8
    assert np.array_equal(forgery.mask, alpha == 1)
    assert not changed[~forgery.mask].any()
    assert changed[forgery.mask].mean() > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_soft_edge_reaches_just_beyond_the_mask(kind):
    outline = OUTLINES[0](np.random.default_rng(5))
    alpha = outline_alpha((72, 96), outline, (40, 30), 0.1, softness=2)
    forgery = forged(5, kind, alpha)
    assert np.array_equal(forgery.mask, alpha >= 0.5)
    assert (alpha[~forgery.mask] > 0).any()
    assert np.array_equal(forgery.image[alpha == 0], photo()[alpha == 0])


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_region_changes_nothing(kind):
    forgery = forged(0, kind, np.zeros((72, 96), np.float32))
    assert np.array_equal(forgery.image, photo()) and not forgery.mask.any()


@pytest.mark.parametrize("kind", ["color", "blur", "splice", "copy_move", "seam"])
def test_what_the_window_cuts_off_is_not_missed(kind):
    alpha = outline_alpha((120, 140), OUTLINES[1](np.random.default_rng(1)), (70, 60), 0.08, softness=1)
    image = forged(2, kind, alpha, (120, 140)).image.astype(int)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xai.data.forgery.MARGIN", 40)
        wider = forged(2, kind, alpha, (120, 140)).image.astype(int)
    assert np.array_equal(image, wider)


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (33, 16), (61, 45)])
@pytest.mark.parametrize("kind", KINDS)
def test_small_and_odd_sizes(kind, size):
    for seed in range(5):
        forgery = forged(seed, kind, size=size)
        assert forgery.image.shape == (*size, 3) and forgery.mask.shape == size
        assert (forgery.image != photo(*size)).any()


def test_a_copy_is_content_of_another_place_of_the_same_photograph():
    rng = np.random.default_rng(0)
    values = np.arange(60 * 80, dtype=np.uint32)  # each pixel tells where it comes from
    image = np.stack([values % 251, values // 251, values % 7], axis=1).reshape(60, 80, 3).astype(np.uint8)
    home = np.arange(60 * 80).reshape(60, 80)
    lookup = {tuple(colour): n for n, colour in enumerate(image.reshape(-1, 3).tolist())}
    assert len(lookup) == 60 * 80
    for seed in range(20):
        alpha = (random_alpha(60, 80, np.random.default_rng(seed)) >= 0.5).astype(np.float32)
        result = forge(image, rng, "copy_move", alpha)
        came = np.array([lookup[tuple(colour)] for colour in result.image[result.mask].tolist()])
        shift = np.stack([came // 80, came % 80]) - np.stack(np.nonzero(result.mask))
        assert (shift == shift[:, :1]).all() and (shift[:, 0] != 0).any()
        inside = np.isin(came, home[result.mask]).mean()
        assert inside <= MAX_OVERLAP or result.mask.mean() > 0.15, "no room is no excuse for a small region"


def test_a_copy_prefers_a_source_that_can_be_told_from_what_it_covers():
    image = np.full((64, 64, 3), 90, np.uint8)
    image[40:, 40:] = 200
    alpha = np.zeros((64, 64), np.float32)
    alpha[4:14, 4:14] = 1
    window = (slice(0, 30), slice(0, 30))
    copies = [copy_move(Scene(image, alpha, window), np.random.default_rng(seed)) for seed in range(20)]
    assert all((copy[4:14, 4:14] == 200).any() for copy in copies)


def test_a_copy_needs_another_place():
    with pytest.raises(ValueError, match="no other place"):
        forge(photo(), np.random.default_rng(0), "copy_move", np.ones((72, 96), np.float32))


def test_a_splice_is_content_of_the_donor():
    alpha, donor = square(72, 96), photo(seed=8)
    scene = Scene(photo(), alpha, (slice(10, 60), slice(10, 90)), donor)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xai.data.edits._recoloured", lambda image, like, weights, strength: image)
        pasted = splice(scene, np.random.default_rng(1))[8:44, 14:62]
    windows = np.lib.stride_tricks.sliding_window_view(donor, (36, 48, 3))[:, :, 0]
    assert (windows == pasted).all(axis=(2, 3, 4)).any()


@pytest.mark.parametrize("kind", ["face_swap"])
def test_a_swapped_face_takes_on_the_colours_of_the_host(kind):
    host = photo()
    donor = np.clip(photo(seed=8) * 0.5 + (90, 0, 20), 0, 255).astype(np.uint8)
    mask = square(72, 96)
    result = forge(host, np.random.default_rng(0), kind, mask, donor).image
    inside = mask == 1
    for channel in range(3):
        ours, theirs = result[inside][:, channel], host[inside][:, channel]
        assert abs(ours.mean() - theirs.mean()) < 2 and abs(ours.std() - theirs.std()) < 3
    assert np.abs(result[inside].astype(int) - host[inside]).mean() > 8


def test_a_seam_lifts_by_linear_interpolation_and_puts_back():
    image = photo().astype(np.float32)
    twin = np.random.default_rng(4)
    for axis in (0, 1):
        t, steps = twin.uniform(0.3, 0.5), np.arange(image.shape[axis])
        for shift in (t, -t):
            image = np.apply_along_axis(lambda line, s=shift, x=steps: np.interp(x + s, x, line), axis, image)
    ours = seam(photo().astype(np.float32), np.random.default_rng(4))
    assert np.allclose(ours[2:-2, 2:-2], image[2:-2, 2:-2], atol=1e-3)


def test_a_seam_changes_the_rim_alone():
    """Off the outline, inside as outside, every byte is the photograph's own."""
    region = square(120, 160)
    rim = rim_of(region, width=1.5)
    forgery = forged(0, "seam", rim, (120, 160))
    rows, cols = np.mgrid[:120, :160]
    border = np.min([abs(rows - 29.5), abs(rows - 89.5), abs(cols - 39.5), abs(cols - 119.5)], axis=0)
    changed = (forgery.image != photo(120, 160)).any(axis=2)
    assert not changed[border > 6].any()
    near = (border < 1) & (rows > 28) & (rows < 91) & (cols > 38) & (cols < 121)
    assert changed[near].mean() > 0.8 and forgery.mask[near].mean() > 0.95
    assert forgery.mask.mean() < 0.1 < region.mean()


def test_a_seam_is_the_control_and_no_forgery_of_content():
    assert [kind for kind in KINDS if KINDS[kind].label == "real"] == ["seam"]
    flat = np.full((64, 64, 3), 77, np.uint8)
    assert np.array_equal(forge(flat, np.random.default_rng(0), "seam").image, flat)


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
    with pytest.raises(ValueError, match="'swap', choose from upsampling, resampling, noise, color, blur"):
        forge(photo(), rng, "swap")
    with pytest.raises(ValueError, match="splice needs a donor"):
        forge(photo(), rng, "splice")
    for strength in (0, -1, 11, np.inf, np.nan):
        with pytest.raises(ValueError, match=f"strength must be above 0 and at most 10, got {strength}"):
            forge(photo(), rng, "noise", strength=strength)
    with pytest.raises(ValueError, match=r"donor must be uint8 of shape \(72, 96, 3\), got"):
        forge(photo(), rng, "splice", donor=photo(70, 96))
