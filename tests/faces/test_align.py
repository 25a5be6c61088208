"""Crops as the published recipe makes them."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from xai.core import DataError, Face, Origin, Sample
from xai.data import shipped_photos
from xai.data.affine import corners, read_through, similarity
from xai.data.face_landmarks import complete_landmarks
from xai.data.image import read_image
from xai.faces import crop, five_points, is_crop, places

POINTS = np.array([[155.3, 90.2], [187.6, 87.4], [177.8, 108.2], [161.0, 125.8], [193.4, 122.9]])
FACE = Face(POINTS, (136.0, 46.0, 66.0, 85.0), 1.0)


@pytest.fixture(scope="module")
def astronaut() -> Sample:
    path = next(path for name, path in shipped_photos().items() if "astronaut" in str(path))
    return Sample("astronaut", read_image(path), path)


def test_the_places_are_those_of_the_recipe():
    """112 → 256 px, a margin of 0.15 on each side, all shrunk into 256 px again; worked out by hand."""
    expected = [[96.86963, 120.43305], [158.82514, 120.09037], [128.04431, 155.66875]]
    np.testing.assert_allclose(places()[:3], expected, atol=1e-4)
    np.testing.assert_allclose(places(512), places() * 2)


def test_a_similarity_is_found_again():
    rng = np.random.default_rng(0)
    angle, scale, shift = 0.7, 1.9, np.array([-40.0, 12.0])
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = rng.normal(size=(5, 2)) * 50
    matrix = similarity(points, points @ turn.T + shift)
    np.testing.assert_allclose(matrix, np.column_stack([turn, shift]), atol=1e-10)


def test_no_other_similarity_is_nearer():
    rng = np.random.default_rng(1)
    points, targets = rng.normal(size=(2, 5, 2))

    def error(matrix: np.ndarray) -> float:
        return float(((points @ matrix[:, :2].T + matrix[:, 2] - targets) ** 2).sum())

    best = similarity(points, targets)
    assert np.linalg.det(best[:, :2]) > 0
    for _ in range(50):
        a, b, x, y = rng.normal(size=4) * 0.05
        assert error(best) < error(best + np.array([[a, -b, x], [b, a, y]]))


def test_umeyama_by_singular_values():
    """The paper's own way, with the decomposition."""
    rng = np.random.default_rng(2)
    for _ in range(20):
        points, targets = rng.normal(size=(2, 7, 2)) * 30
        here, there = targets - targets.mean(0), points - points.mean(0)
        left, values, right = np.linalg.svd(here.T @ there / 7)
        sign = np.diag([1, np.sign(np.linalg.det(left) * np.linalg.det(right))])
        turn = np.trace(np.diag(values) @ sign) / there.var(0).sum() * (left @ sign @ right)
        expected = np.column_stack([turn, targets.mean(0) - turn @ points.mean(0)])
        np.testing.assert_allclose(similarity(points, targets), expected, atol=1e-9)


@pytest.mark.parametrize("points", [np.ones((5, 2)), np.full((5, 2), np.nan)])
def test_points_that_say_no_direction(points):
    with pytest.raises(DataError, match="cannot be aligned"):
        similarity(points, places())


def test_a_crop_says_where_it_comes_from(astronaut):
    mask = np.zeros(astronaut.image.size[::-1], bool)
    mask[88:128, 150:200] = True
    sample = crop(Sample("a", astronaut.image, astronaut.path, "real", mask, kind="pristine"), FACE, 1)
    assert (sample.id, sample.image.size, sample.label, sample.group) == ("a_face1", (256, 256), "real", "a")
    assert sample.path == astronaut.path and sample.origin.number == 1 and sample.origin.face is FACE
    assert np.abs(sample.landmarks - places()).max() < 12
    assert sample.mask[140, 128] and not sample.mask[20, 128]
    coarse = crop(replace(astronaut, mask=mask[::4, ::4]), FACE)
    assert (coarse.mask != sample.mask).mean() < 0.02
    # each point of the face is the same pixel in both pictures
    for (x, y), (u, v) in zip(POINTS, sample.landmarks, strict=True):
        there = np.asarray(astronaut.image, float)[round(y), round(x)]
        here = np.asarray(sample.image, float)[round(v), round(u)]
        assert np.abs(there - here).max() < 45


def test_a_crop_of_a_frame_keeps_its_time(astronaut):
    frame = Origin(astronaut.image, np.eye(2, 3), frame=7, seconds=0.28)
    sample = crop(Sample("clip", astronaut.image, group="clip.mp4", origin=frame), FACE)
    assert (sample.origin.frame, sample.origin.seconds, sample.group) == (7, 0.28, "clip.mp4")
    assert sample.origin.face is FACE and sample.id == "clip_face0"


def test_reading_through_the_identity_changes_nothing(astronaut):
    same = read_through(astronaut.image, np.eye(2, 3), astronaut.image.size)
    np.testing.assert_array_equal(np.asarray(same), np.asarray(astronaut.image))


def test_values_between_pixels_are_read_bilinearly():
    """And mixed with black at the border."""
    values = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    matrix = similarity(np.array([[5, 4], [20.5, 9.25]]), np.array([[3, 3], [17.0, 21.0]]))
    result = np.asarray(read_through(Image.fromarray(values), matrix, (18, 40)))
    padded = np.pad(values.astype(float), 50)
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    for v, u in np.ndindex(40, 18):
        x, y, _ = back @ (u, v, 1) + 50
        col, row = int(x), int(y)
        a, b = x - col, y - row
        expected = np.array([1 - b, b]) @ padded[row : row + 2, col : col + 2] @ np.array([1 - a, a])
        assert result[v, u] == pytest.approx(expected, abs=0.5 + 1e-3)
    assert (result == 0).mean() > 0.1


def test_the_corners_of_a_crop(astronaut):
    sample = crop(astronaut, FACE)
    matrix = sample.origin.to_crop
    at = corners(matrix, (256, 256)) @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(at, [[-0.5, -0.5], [255.5, -0.5], [255.5, 255.5], [-0.5, 255.5]], atol=1e-9)


def test_an_aligned_crop_is_known_as_one(astronaut):
    sample = crop(astronaut, FACE)
    face = Face(sample.landmarks, (60.0, 40.0, 130.0, 180.0), 1.0)
    assert not is_crop(astronaut.image, FACE)
    assert is_crop(sample.image, face)
    assert is_crop(sample.image.resize((512, 512)), Face((face.points + 0.5) * 2 - 0.5, face.box, 1.0))
    # turned by 90°, or with much around it, it is none
    assert not is_crop(sample.image, Face(face.points * 0.6 + 50, face.box, 1.0))


def test_the_recipe_takes_five_of_dlib():
    landmarks = complete_landmarks(POINTS)[:68]
    np.testing.assert_array_equal(five_points(landmarks), landmarks[[37, 44, 30, 49, 55]])
    with pytest.raises(DataError, match=r"\(3, 2\)"):
        five_points(np.zeros((3, 2)))


def test_where_five_points_are_known_those_of_the_recipe_are_drawn(astronaut):
    """Not eyes and corners of the mouth themselves, by which a crop would be turned against the recipe's."""
    known = Face(complete_landmarks(POINTS)[:68], FACE.box, 1.0)
    of_five, of_68 = crop(astronaut, FACE), crop(astronaut, known)
    np.testing.assert_allclose(of_five.origin.to_crop, of_68.origin.to_crop, atol=1e-9)
    assert of_five.landmarks.shape == (5, 2)
    by_themselves = similarity(POINTS, places())
    assert np.abs(by_themselves - of_five.origin.to_crop).max() > 0.01


def test_known_landmarks_are_not_lost(astronaut):
    landmarks = complete_landmarks(POINTS)
    sample = crop(astronaut, Face(landmarks, FACE.box, 1.0))
    np.testing.assert_allclose(sample.landmarks, landmarks @ sample.origin.to_crop[:, :2].T
                               + sample.origin.to_crop[:, 2])  # fmt: skip
