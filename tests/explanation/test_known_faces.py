"""Where landmarks are known, as in DeepfakeBench's folders, no face is looked for."""

import numpy as np
import pytest
from tiny_detector import photo

import xai.faces
from xai.core import Face, Sample
from xai.explanation.faces import FaceFinder
from xai.faces import places
from xai.faces.align import FIVE_OF_DLIB


@pytest.fixture
def finder(monkeypatch):
    looked = []

    def find(images):
        looked.extend(images)
        return [[] for _ in images]

    monkeypatch.setattr(xai.faces, "find", find)
    finder = FaceFinder()
    finder.looked = looked
    return finder


def of_81(five):
    """dlib's points, of which those that crops are aligned by lie where they should."""
    points = np.full((81, 2), five.mean(0))
    points[list(FIVE_OF_DLIB)] = five
    return points


def test_a_crop_with_its_landmarks_is_taken_as_it_is(finder):
    sample = Sample("crop", photo(0).resize((256, 256)), landmarks=of_81(places(256)))
    assert list(finder([sample])) == [sample]
    assert finder.looked == [] and (finder.crops, finder.photographs) == (1, 0)


def test_a_photograph_with_landmarks_is_cropped_by_them(finder):
    photograph = Sample(
        "whole", photo(0).resize((900, 700)), landmarks=of_81(places(256) + np.array([400, 200]))
    )
    (cropped,) = finder([photograph])
    assert finder.looked == [] and cropped.image.size == (256, 256)
    assert cropped.landmarks.shape == (81, 2)  # evidence by parts needs all of them
    np.testing.assert_allclose(cropped.landmarks[list(FIVE_OF_DLIB)], places(256), atol=1e-6)
    np.testing.assert_allclose(cropped.origin.to_crop, [[1, 0, -400], [0, 1, -200]], atol=1e-6)


def test_clicks_move_with_the_face(finder):
    clicks = np.array([[410.0, 220.0]])
    photograph = Sample(
        "whole",
        photo(0).resize((900, 700)),
        landmarks=of_81(places(256) + np.array([400, 200])),
        clicks=clicks,
    )
    (cropped,) = finder([photograph])
    np.testing.assert_allclose(cropped.clicks, [[10, 20]], atol=1e-6)


def test_another_face_than_that_of_a_crop_is_cut_out(monkeypatch):
    """`--face 1` of an aligned crop that shows a second face is not the crop."""
    first = Face(places(256), (60.0, 50.0, 130.0, 170.0), 1.0)
    second = Face(places(256) * 0.2, (12.0, 10.0, 26.0, 34.0), 0.95)
    monkeypatch.setattr(xai.faces, "find", lambda images: [[first, second] for _ in images])
    (cropped,) = FaceFinder(1)([Sample("crop", photo(0).resize((256, 256)))])
    assert cropped.id == "crop_face1" and cropped.origin.number == 1
    (whole,) = FaceFinder("largest")([Sample("crop", photo(0).resize((256, 256)))])
    assert whole.origin is None
