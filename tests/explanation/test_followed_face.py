"""A face followed through frames, and what a video of it says; the faces are told, not found."""

import csv
import json

import numpy as np
import pytest
from clips import write_clip
from safetensors import safe_open
from tiny_detector import classifier, photo

import xai
import xai.faces
from xai.core import DataError, Face, Sample
from xai.data.face_parts import PARTS, cell_shares, part_shares
from xai.explanation import Explainer, explain_each_video
from xai.explanation.faces import FaceFinder, FollowedFace, box_overlap
from xai.explanation.inputs import Failure
from xai.faces import places
from xai.video import parse_sampling

pytestmark = pytest.mark.usefixtures("coarse_pictures")
METHOD = "gradient_weighted_attention"


def face(x: float, y: float, side: float = 30.0) -> Face:
    """A face whose box begins at (x, y)."""
    points = (places(100, 1.0) / 100 * side + (x, y)).astype(float)
    return Face(points, (x, y, side, side), 0.9)


@pytest.fixture
def told(monkeypatch):
    """Faces of the frames, in order."""
    faces: list[list[Face]] = []
    served = iter(())

    def find(images):
        return [next(served) for _ in images]

    def tell(*of_frames):
        nonlocal served
        served = iter(of_frames)
        monkeypatch.setattr(xai.faces, "find", find)
        return len(of_frames)

    tell(*faces)
    return tell


def follow(which, frames):
    """Which face of each frame is taken; None where none is."""
    samples = (Sample(f"{i}", photo(i, (200, 150))) for i in range(frames))
    follower = FollowedFace(FaceFinder(which))
    taken = list(follower(samples))
    numbers = [None if isinstance(one, Failure) else one.origin.number for one in taken]
    return numbers, follower


def test_the_face_that_overlaps_most_is_the_same(told):
    count = told(
        [face(50, 50, 40), face(120, 50)],
        [face(110, 50, 50), face(55, 52, 38)],  # the other one is larger now
        [face(60, 55, 36), face(115, 50, 35)],
    )
    numbers, follower = follow("largest", count)
    assert numbers == [0, 1, 0]
    assert (follower.begun, follower.missing, follower.remarks) == (1, 0, [])


def test_the_nearest_counts_where_nothing_overlaps(told):
    count = told([face(20, 50)], [face(150, 50, 40), face(46, 55)])
    assert follow("all", count)[0] == [0, 1]


def test_after_a_cut_it_begins_anew_and_says_so(told):
    count = told([face(10, 10)], [face(150, 110, 35), face(110, 100)], [], [face(152, 110, 35)])
    numbers, follower = follow("largest", count)
    assert numbers == [0, 0, None, 0]
    assert (follower.begun, follower.missing) == (2, 1)
    assert "1 frame shows no face" in follower.remarks[0]
    assert "began anew once" in follower.remarks[1]


def test_another_face_than_the_largest(told):
    count = told([face(10, 10)], [face(50, 50, 40), face(120, 50)], [face(118, 50, 45), face(52, 50, 40)])
    assert follow(1, count)[0] == [None, 1, 0]  # the first frame has no second face


def test_a_number_that_no_frame_has_is_said_to_be_one(told):
    told([face(10, 10)])
    (failure,) = FollowedFace(FaceFinder(3))(iter([Sample("clip, frame 0", photo(0, (200, 150)))]))
    assert "there is no face 3; 1 face was found" in str(failure.error)


def test_frames_are_taken_as_crops_until_the_face_leaves_its_place(told):
    def at(shift):
        return [Face(places(100) + np.array([shift, 0]), (30.0 + shift, 30, 40, 40), 0.9)]

    def taken(*shifts):
        told(*map(at, shifts))
        samples = (Sample(str(i), photo(i, (100, 100))) for i in range(len(shifts)))
        return [one.origin is None for one in FollowedFace(FaceFinder())(samples)]

    assert taken(0, 17, 5) == [True, True, True]  # 17 alone is no crop any more, as the next line shows
    assert taken(17, 5, 0) == [False, False, False]
    assert taken(0, 38, 5) == [True, False, False]


def test_overlap_is_that_of_boxes():
    assert box_overlap((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert box_overlap((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert box_overlap((0, 0, 10, 10), (20, 0, 10, 10)) == 0


def test_a_video_of_a_face(told, tmp_path):
    told(*[[face(50 + 2 * i, 40, 40)] if i != 2 else [] for i in range(6)])
    clip = write_clip(tmp_path / "clip.mp4", 6)
    explainer = Explainer(classifier(), METHOD)
    (one,) = explain_each_video(explainer, [clip], tmp_path / "out", parse_sampling("1f"), faces=FaceFinder())
    found, record = one.explanation, one.record
    assert [frame.number for frame in found.frames] == [0, 1, 3, 4, 5]
    assert record["face"]["frames"] == record["face"]["cut"] == 5
    assert record["warnings"] == ["1 frame shows no face that could be followed and was left out."]
    rows = list(csv.DictReader((tmp_path / "out" / "clip" / "clip_frames.csv").open(encoding="utf-8")))
    assert [float(row["face_x"]) for row in rows] == [50, 52, 56, 58, 60]
    with safe_open(tmp_path / "out" / "clip" / "clip_maps.safetensors", "numpy") as maps:
        crops = json.loads(maps.metadata()["to_crop"])
    np.testing.assert_array_equal(crops, [frame.to_crop for frame in found.frames])

    # the same as of the crops themselves, one by one
    told(*[[face(50, 40, 40)]])
    (first,) = xai.explain(_frame(clip), classifier(), method=METHOD, face="largest")
    np.testing.assert_allclose(found.maps("fake")[0], first.maps["fake"], rtol=1e-3)
    cells = cell_shares(first.sample.landmarks, first.geometry, first.maps["fake"].shape)
    expected = part_shares(first.maps["fake"], cells)
    if np.isfinite(expected).all():
        shares = [found.frames[0].parts["fake"][part] for part in PARTS]
        np.testing.assert_allclose(shares, expected, rtol=1e-3)
        assert float(rows[0]["evidence_mouth"]) == pytest.approx(expected[PARTS.index("mouth")], rel=1e-3)


def test_a_video_without_a_face_is_an_error_that_names_the_way_on(told, tmp_path):
    told(*[[] for _ in range(4)])
    with pytest.raises(DataError, match=r"no face found\.\n.*--whole-image"):
        xai.explain_video(write_clip(tmp_path / "clip.mp4", 4), classifier(), method=METHOD, face="largest")


def _frame(clip):
    from xai.video import Video

    with Video(clip) as video:
        return next(video.frames(parse_sampling("1f"))).image
