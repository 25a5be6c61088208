"""A crop's map on the photograph that it was cut from, pixels read back."""

from base64 import b64decode
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from xai.core import Face, Geometry, Origin, UsageError
from xai.data.affine import corners, read_through, similarity
from xai.report.colours import ColourScale
from xai.report.explanations import image_of
from xai.report.overlay import DrawnImage
from xai.report.photograph import DrawnPhotograph, PhotographPictures

TURNED = similarity(np.array([[420.0, 230.0], [470.0, 260.0]]), np.array([[10.0, 20.0], [54.0, 20.0]]))
FACE = Face(np.zeros((5, 2)), (420, 230, 60, 60), 1.0)


@pytest.fixture
def cut(explained):
    """Explanations of a 64 × 64 crop of a photograph of 700 × 500 pixels."""

    def build(maps, matrix=TURNED, **sample):
        noise = np.random.default_rng(0).integers(60, 200, (500, 700, 3), np.uint8)
        photograph = Image.fromarray(noise)
        found = explained(maps, **sample)
        crop = read_through(photograph, matrix, (64, 64))
        origin = Origin(photograph, matrix, FACE, 2)
        return replace(found, sample=replace(found.sample, image=crop, origin=origin))

    return build


def own(explanation) -> DrawnPhotograph:
    drawn = DrawnPhotograph(explanation)
    return drawn.at(drawn.source.size)


@pytest.mark.parametrize("patch", [(0, 0), (2, 1), (3, 3)])
def test_a_patch_lies_where_it_was_in_the_photograph(cut, patch):
    values = np.zeros((4, 4))
    values[patch] = 1
    explanation = cut({"real": values})
    picture = own(explanation).overlay(values, ColourScale(1.0)).astype(int)
    warm = picture[..., 0] - picture[..., 2]
    warm[np.abs(own(explanation).original.astype(int) - picture).max(2) == 0] = 0
    y, x = np.unravel_index(np.argmax(warm), warm.shape)
    found = TURNED @ (x, y, 1)
    centre = (np.array(patch[::-1]) + 0.5) * 16 - 0.5
    assert np.abs(found - centre).max() < 9  # within the patch; noise decides where


def test_outside_of_the_crop_nothing_changes(cut):
    explanation = cut({"real": np.ones((4, 4))})
    picture = PhotographPictures(explanation).whole("real").pixels()
    photograph = np.asarray(explanation.sample.origin.image)
    assert picture.shape == photograph.shape
    rows, cols = np.mgrid[:500, :700]
    there = np.stack([cols, rows], -1) @ TURNED[:, :2].T + TURNED[:, 2]
    far = ((there < -6) | (there > 69)).any(-1)
    np.testing.assert_array_equal(picture[far], photograph[far])
    inside = ((there > 3) & (there < 60)).all(-1)
    assert (picture[inside] != photograph[inside]).any(-1).mean() > 0.95


def test_an_upright_crop_is_drawn_as_an_image_is(cut):
    """With the identity both ways of drawing are one, but for the outline."""
    values = np.random.default_rng(1).standard_normal((4, 4))
    explanation = cut({"real": values}, matrix=np.eye(2, 3))
    scale = ColourScale.of([values])
    plain = DrawnImage(explanation, exactly=(64, 64)).overlay(values, scale).astype(int)
    drawn = own(explanation).overlay(values, scale)[:64, :64].astype(int)
    assert np.abs(plain - drawn)[4:60, 4:60].max() <= 1


def test_a_map_of_the_centre_stays_in_the_centre(cut):
    """The model saw less than the crop."""
    explanation = replace(cut({"real": np.ones((4, 4))}), geometry=Geometry((64, 64), (16, 16, 48, 48)))
    changed = own(explanation).overlay(np.ones((4, 4)), ColourScale(1.0)) != own(explanation).original
    rows, cols = np.nonzero(changed.any(-1))
    there = np.stack([cols, rows], -1) @ TURNED[:, :2].T + TURNED[:, 2]
    assert there.min() > 15 and there.max() < 48


def test_crop_and_mask_are_outlined_on_the_photograph(cut):
    mask = np.zeros((64, 64), bool)
    mask[20:44, 20:44] = True
    explanation = cut({"real": np.zeros((4, 4))}, mask=mask)
    picture = own(explanation).original
    for corner in corners(TURNED, (64, 64)):
        x, y = np.round(corner).astype(int)
        assert (picture[y - 2 : y + 3, x - 2 : x + 3] == 255).all(-1).any()
    x, y = np.round(corners(TURNED @ np.diag([1, 1, 1]) - [[0, 0, 20], [0, 0, 20]], (24, 24))[0]).astype(int)
    assert (picture[y - 3 : y + 4, x - 3 : x + 4] == (0, 255, 217)).all(-1).any()


def test_a_small_face_is_shown_close_beside_the_whole_photograph(cut):
    explanation = cut({"real": np.ones((4, 4)), "fake": -np.ones((4, 4))})
    pictures = PhotographPictures(explanation)
    left, top, right, bottom = pictures._image.view
    assert right - left < 200 and bottom - top < 200
    words = " ".join(line.text for line in pictures.comparison("fake", "real").lines)
    assert "White outline: the crop" in words and "photo.png, face 2" in words


def test_a_page_holds_the_photograph_small(cut, explained):
    image = image_of(cut({"real": np.ones((4, 4)), "fake": np.zeros((4, 4))}))
    assert (image.photograph.width, image.photograph.height, image.photograph.number) == (700, 500, 2)
    assert image.name == "photo.png, face 2"
    content = b64decode(image.photograph.picture.partition(",")[2])
    assert Image.open(BytesIO(content)).size == (480, 343)
    plain = explained({"real": np.ones((4, 4)), "fake": np.ones((4, 4))})
    assert image_of(plain).photograph is None


def test_an_image_that_was_cut_from_nothing(explained):
    with pytest.raises(UsageError, match="not cut from a photograph"):
        own(explained({"real": np.ones((4, 4))}))
