"""What happens to pictures on their way: sizes stay, harsher is worse, faces are cut out of the whole."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from xai.core import DataError, Origin, Sample
from xai.data import read_image, shipped_photos
from xai.data.affine import read_through
from xai.data.degradations import LADDER, NOISE, degraded, jpeg, levels, resize, upload


@pytest.fixture(scope="module")
def photo():
    return read_image(next(iter(shipped_photos().values()))).resize((203, 151))


def apart(first, second):
    return float(np.abs(np.asarray(first, float) - np.asarray(second, float)).mean())


def test_every_degradation_keeps_size_and_colours_and_is_the_same_twice(photo):
    assert len({one.name for one in LADDER}) == len(LADDER) == 10
    before = photo.tobytes()
    for one in (*LADDER, *NOISE):
        found = one.apply(photo)
        assert found.size == photo.size and found.mode == "RGB"
        assert 0 < apart(found, photo) < 20, one.name
        assert found.tobytes() == one.apply(photo).tobytes()
    assert photo.tobytes() == before
    assert resize(Image.new("RGB", (2, 1), "red"), 0.25).size == (2, 1)


def test_noise_is_of_its_size_and_of_the_picture():
    grey = Image.new("RGB", (200, 100), (128, 128, 128))
    for one in NOISE:
        grain = np.asarray(one.apply(grey), float) - 128
        assert grain.std() == pytest.approx(one.level, rel=0.03) and abs(grain.mean()) < 0.1
    other = np.asarray(NOISE[2].apply(Image.new("RGB", (200, 100), (129, 129, 129))), float) - 129
    assert abs(np.corrcoef(grain.ravel(), other.ravel())[0, 1]) < 0.05


@pytest.mark.parametrize("kind", ["jpeg", "resize", "noise"])
def test_the_ladder_goes_from_mild_to_harsh(photo, kind):
    losses = [apart(one.apply(photo), photo) for one in levels(kind)]
    assert losses == sorted(losses) and len(losses) > 2


def test_an_upload_loses_what_lies_beyond_its_side_and_what_jpeg_takes_twice(photo):
    assert apart(upload(photo), jpeg(jpeg(photo, 75), 75)) == 0, "a small picture is not made smaller"
    fine = Image.fromarray(np.indices((40, 2160)).sum(0)[..., None].repeat(3, 2).astype(np.uint8) % 2 * 255)
    found = np.asarray(upload(fine), float)
    assert found.shape == (40, 2160, 3) and found.std() < 20, "a pattern of single pixels is gone at 1080"


def test_a_face_is_cut_out_of_the_degraded_photograph_at_the_same_place(photo):
    matrix = np.array([[0.8, 0.2, -30.0], [-0.2, 0.8, 10.0]])
    crop = read_through(photo, matrix, (64, 64))
    sample = Sample("face", crop, origin=Origin(photo, matrix), landmarks=np.ones((5, 2)))
    for one in LADDER[-2:]:
        found = degraded(sample, one)
        expected = read_through(one.apply(photo), matrix, (64, 64))
        assert found.image.tobytes() == expected.tobytes() != one.apply(crop).tobytes()
        assert found.origin.image.tobytes() == one.apply(photo).tobytes()
        assert found.landmarks is sample.landmarks


def test_a_crop_without_its_photograph_and_a_frame_are_degraded_themselves(photo):
    plain = Sample("plain", photo, box=(3, 4, 50, 60))
    frame = replace(plain, origin=Origin(photo, np.eye(2, 3), frame=7))
    for sample in (plain, frame):
        found = degraded(sample, LADDER[0])
        assert found.image.tobytes() == jpeg(photo, 95).tobytes()
        assert found.box == sample.box and found.origin == sample.origin


def test_what_jpeg_cannot_hold_is_the_image_s_fault():
    with pytest.raises(DataError, match="70000 × 1 pixels cannot be saved as JPEG"):
        jpeg(Image.new("RGB", (70_000, 1)), 90)
