"""Landmarks and clicks of a manifest: read with their sample, a broken one costs its own row only."""

import numpy as np
import pytest
from PIL import Image

from xai.bench.run.masks import input_points
from xai.core import DataError, Geometry
from xai.data import Row, load_samples, read_manifest
from xai.data.manifest import manifest_csv


@pytest.fixture
def faces(tmp_path):
    for name in "abcd":
        Image.new("RGB", (60, 40), "red").save(tmp_path / f"{name}.png")
    np.save(tmp_path / "dlib.npy", np.arange(162).reshape(81, 2) % 40)
    return tmp_path


def read(folder, text):
    (folder / "faces.csv").write_text(text, encoding="utf-8")
    return read_manifest(folder / "faces.csv")


def test_points_come_with_their_sample(faces):
    rows = read(faces, "path,landmarks,clicks\na.png,dlib.npy,\nb.png,,10:20 59.4:-0.25\nc.png,,\n")
    one, two, three = load_samples(rows)
    assert one.landmarks.dtype == np.float64
    assert np.array_equal(one.landmarks, np.load(faces / "dlib.npy"))
    assert one.clicks is None and two.landmarks is None
    assert two.clicks.tolist() == [[10, 20], [59.4, -0.25]]
    assert three.landmarks is None and three.clicks is None


def test_what_is_written_is_read_back(faces):
    rows = [Row(faces / "a.png", landmarks=faces / "dlib.npy"), Row(faces / "b.png", clicks="10:20 5.5:7")]
    after = read(faces, manifest_csv(rows, faces))
    assert [(row.landmarks, row.clicks) for row in after] == [
        (faces / "dlib.npy", ""),
        (None, "10:20 5.5:7"),
    ]
    plain = manifest_csv([Row(faces / "a.png")], faces).splitlines()[0]
    assert plain == "path,label,mask,group,kind", "no column that nothing is in"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (np.zeros((80, 2)), r"shape \(80, 2\)"),
        (np.full((68, 2), np.nan), "not finite"),
        (np.zeros((68, 2), "U3"), "no array of numbers"),
        (np.array([{"a": 1}] * 5), "cannot be read"),  # a pickle, which could be any code
        (b"\x93NUMPY\x01\x00", "cannot be read"),
        (b"", "cannot be read"),
        (bytes(2_000_000), "2000000 bytes"),
    ],
    ids=["80 points", "nan", "text", "pickle", "cut off", "empty", "huge"],
)
def test_broken_landmarks_are_their_row_s_fault(faces, content, words):
    if isinstance(content, bytes):
        (faces / "bad.npy").write_bytes(content)
    else:
        np.save(faces / "bad.npy", content, allow_pickle=True)
    samples = load_samples(read(faces, "path,landmarks\na.png,bad.npy\nb.png,dlib.npy\n"))
    with pytest.raises(DataError, match=f"faces.csv:2.*{words}"):
        samples[0]
    assert samples[1].landmarks.shape == (81, 2)


def test_a_header_that_promises_more_than_the_file_holds_takes_no_memory(faces):
    np.save(faces / "bad.npy", np.zeros((5, 2)))
    content = (faces / "bad.npy").read_bytes().replace(b"(5, 2), }           ", b"(500000000000, 2), }")
    (faces / "bad.npy").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        load_samples(read(faces, "path,landmarks\na.png,bad.npy\n"))[0]


def test_missing_landmarks_and_clicks_that_are_none_are_faults(faces):
    rows = read(faces, "path,landmarks,clicks\na.png,no.npy,\nb.png,,12\nc.png,,nan:3\nd.png,,\n")
    assert "no such file of landmarks" in rows[0].fault
    assert "the click '12' is not x:y" in rows[1].fault
    assert "not finite" in rows[2].fault


def test_a_click_outside_the_image_is_the_row_s_fault(faces):
    samples = load_samples(read(faces, "path,clicks\na.png,10:20 61:3\n"))
    with pytest.raises(DataError, match=r"the click 61:3 lies outside its image of 60 × 40"):
        samples[0]


def test_clicks_go_where_the_model_sees_them():
    geometry = Geometry.resize_crop((60, 40), None, (40, 40))  # the middle: x from 10 to 50
    points = np.array([[10, 0], [49, 39], [30, 20], [9, 5], [50, 5]])
    seen = input_points(points, geometry, (80, 80))
    assert sorted(zip(*np.nonzero(seen), strict=True)) == [(1, 1), (41, 41), (79, 79)]
