"""`--face`, `--whole-image`, `faces: aligned`: which faces are explained, what is written, what is said.

The face finder is replaced by one that knows the photograph; it is tested in tests/faces.
"""

import json
from contextlib import contextmanager

import numpy as np
import pytest
from page_files import page_of
from PIL import Image
from safetensors.numpy import load_file
from tiny_detector import classifier, photo

import xai
import xai.faces
from xai.core import DataError, Face, Sample, UsageError
from xai.faces import places

CHEAP = ("--method", "center_prior", "--no-part-removal")
POINTS = np.array([[155.3, 90.2], [187.6, 87.4], [177.8, 108.2], [161.0, 125.8], [193.4, 122.9]])
LARGE, SMALL = Face(POINTS, (136, 46, 66, 85), 1.0), Face(POINTS / 2 + 20, (88, 43, 33, 42), 0.95)


def photograph(side: int = 384) -> Image.Image:
    """Plain: its faces are made up."""
    return Image.linear_gradient("L").resize((side, side)).convert("RGB")


@pytest.fixture
def finder(monkeypatch):
    """Answers by the size of an image; notes how many images it was given at once."""
    calls = []
    known = {(384, 384): [LARGE, SMALL], (256, 256): [Face(places() + 1, (60, 40, 130, 170), 1.0)]}

    def find(images):
        calls.append(len(images))
        return [known.get(image.size, []) for image in images]

    monkeypatch.setattr(xai.faces, "find", find)
    return calls


@pytest.fixture
def folder(tmp_path, finder):
    (tmp_path / "in").mkdir()
    photograph().save(tmp_path / "in" / "photo.png")
    photograph(256).save(tmp_path / "in" / "crop.png")
    photo().save(tmp_path / "in" / "empty.png")
    return tmp_path / "in"


def test_every_face_is_explained_and_drawn_back(folder, tmp_path, xai_command, detector, finder):
    run = xai_command("explain", "in", "--config", detector, *CHEAP, "--face", "all", "--out", "out")
    assert run.code == 4
    stems = {path.name.removesuffix("_explanation.json") for path in (tmp_path / "out").glob("*.json")}
    assert {"photo_face0", "photo_face1", "crop"} <= stems
    files = {path.name for path in (tmp_path / "out").iterdir()}
    for kind in ("real", "fake", "comparison"):
        assert f"photo_face1_{kind}_on_photograph.png" in files
        assert f"crop_{kind}_on_photograph.png" not in files
    assert load_file(tmp_path / "out" / "photo_face1_maps.safetensors")["fake"].shape == (4, 4)
    assert "photo.png, face 1" in run.stdout
    assert (
        "Faces: 2 faces explained of 1 photograph; 1 image taken whole, as aligned crops of a face already."
        in run.stderr
    )
    assert "empty.png: no face found." in run.stderr and "--whole-image" in run.stderr
    assert "2 of 3 images explained, 1 failed." in run.stderr
    assert finder == [0, 3]


def test_the_bar_counts_photographs(folder, xai_command, detector, monkeypatch):
    """Two faces of one photograph are one step of it."""
    bars = []

    @contextmanager
    def progress(total, what):
        steps = []
        bars.append((total, steps))
        yield lambda: steps.append(what)

    for command in ("explain", "robustness"):
        monkeypatch.setattr(f"xai.cli.{command}.progress", progress)
    more = ("--config", detector, "--method", "center_prior", "--face", "all")
    xai_command("explain", "in", *more, "--pictures", "none", "--no-part-removal")
    xai_command("robustness", "in", *more, "--pictures", "0")
    assert [(total, len(steps)) for total, steps in bars] == [(3, 3), (3, 3)]


def test_the_record_says_where_the_crop_comes_from(folder, tmp_path, xai_command, detector):
    run = xai_command("explain", "in/photo.png", "--config", detector, *CHEAP, "--face", "1", "--json")
    assert run.code == 0, run.stderr
    (record,) = json.loads(run.stdout)["explanations"]
    image = record["image"]
    assert (image["id"], image["width"], image["height"]) == ("photo_face1", 256, 256)
    origin = image["origin"]
    assert (origin["width"], origin["number"], origin["frame"]) == (384, 1, None)
    np.testing.assert_allclose(origin["face"]["points"], SMALL.points)
    matrix = np.array(origin["to_crop"])
    np.testing.assert_allclose(SMALL.points @ matrix[:, :2].T + matrix[:, 2], image["landmarks"])
    assert set(record["files"]) >= {"fake on photograph", "comparison on photograph"}


def test_a_page_counts_faces(folder, tmp_path, xai_command, detector):
    run = xai_command(
        "explain", "in/photo.png", "--config", detector, *CHEAP, "--face", "all", "--report", "--out", "out",
        "--pictures", "none",
    )  # fmt: skip
    assert run.code == 0, run.stderr
    page = page_of(tmp_path / "out" / "index.html")
    assert page.shown == (2, 2)
    assert [image.name for image in page.images] == ["photo.png, face 0", "photo.png, face 1"]
    assert [image.photograph.number for image in page.images] == [0, 1]
    assert {image.group for image in page.images} == {"photo"}


def test_one_picture_means_one_on_the_photograph_too(folder, tmp_path, xai_command, detector):
    arguments = ("explain", "in/photo.png", "--config", detector, *CHEAP, "--face", "largest", "--out", "out")
    assert xai_command(*arguments).code == 0
    assert xai_command(*arguments, "--pictures", "comparison").code == 0
    pictures = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert pictures == {"photo_face0_comparison.png", "photo_face0_comparison_on_photograph.png"}


def test_a_detector_of_crops_looks_for_faces_by_itself(folder, xai_command, detector, finder):
    plain = xai_command("explain", "in", "--config", detector, *CHEAP, "--out", "plain", "--pictures", "none")
    assert plain.code == 0 and "Faces:" not in plain.stderr and finder == []
    detector.write_text(detector.read_text() + "faces: aligned\n")
    by_itself = xai_command("explain", "in", "--config", detector, *CHEAP, "--out", "a", "--pictures", "none")
    assert by_itself.code == 4 and "2 faces explained of 1 photograph" in by_itself.stderr
    whole = xai_command(
        "explain", "in", "--config", detector, *CHEAP, "--whole-image", "--out", "b", "--pictures", "none"
    )
    assert whole.code == 0 and "Faces:" not in whole.stderr
    never = xai_command(
        "explain", "in", "--config", detector, *CHEAP, "--faces", "never", "--out", "b", "--pictures", "none"
    )
    assert never.code == 0 and "Faces:" not in never.stderr
    box = xai_command(
        "explain", "in/photo.png", "--config", detector, *CHEAP, "--box", "130,40,80,90", "--out", "c",
        "--pictures", "none",
    )  # fmt: skip
    assert box.code == 0 and "Faces:" not in box.stderr


def test_faces_can_be_looked_for_with_any_detector(folder, xai_command, detector, finder):
    asked = ("explain", "in/photo.png", "--config", detector, *CHEAP, "--pictures", "none")
    always = xai_command(*asked, "--faces", "always", "--out", "a")
    assert always.code == 0 and "2 faces explained of 1 photograph" in always.stderr
    one = xai_command(*asked, "--faces", "always", "--face", "largest", "--out", "b")
    assert one.code == 0 and "1 face explained of 1 photograph" in one.stderr
    auto = xai_command(*asked, "--faces", "auto", "--out", "c")
    assert auto.code == 0 and "Faces:" not in auto.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--face", "all", "--whole-image"), "contradict"),
        (("--face", "1", "--faces", "never"), "contradict"),
        (("--faces", "always", "--whole-image"), "contradict"),
        (("--faces", "sometimes"), "'sometimes' is unknown"),
        (("--faces", "always", "--box", "1,1,9,9"), "both say what to cut out"),
        (("--face", "all", "--box", "1,1,9,9"), "both say what to cut out"),
        (("--face", "nearest"), "There is no face 'nearest'"),
        (("--face", "-1"), "There is no face '-1'"),
    ],
)
def test_options_that_make_no_sense(folder, xai_command, detector, options, message):
    run = xai_command("explain", "in", "--config", detector, *CHEAP, *options)
    assert run.code == 2 and message in run.stderr


def test_a_face_that_is_not_there(folder, xai_command, detector):
    run = xai_command("explain", "in/photo.png", "--config", detector, *CHEAP, "--face", "2")
    assert run.code == 3
    assert "there is no face 2; 2 faces were found" in run.stderr


def test_names_of_faces_are_nobody_elses(folder, tmp_path, xai_command, detector):
    (folder / "crop.png").rename(folder / "photo_face1.png")
    (folder / "more").mkdir()
    photograph().save(folder / "more" / "photo.png")
    arguments = ("--config", detector, *CHEAP, "--face", "all", "--out", "out", "--pictures", "none")
    xai_command("explain", "in/photo.png", "in/photo_face1.png", *arguments)
    assert xai_command("explain", "in/more/photo.png", *arguments).code == 0
    of = {
        path.name: json.loads(path.read_text())["image"]["path"]
        for path in (tmp_path / "out").glob("*_explanation.json")
    }
    assert len(of) == 5  # two faces of each photograph, and the crop that is called like a face
    assert of["photo_face1_explanation.json"] == str((folder / "photo.png").resolve())


def test_missing_weights_are_said_before_the_work(tmp_path, monkeypatch, xai_command, detector):
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))
    xai.faces.finding._net.cache_clear()
    photograph().save(tmp_path / "photo.png")
    run = xai_command("explain", "photo.png", "--config", detector, *CHEAP, "--face", "all")
    assert run.code == 3 and "xai models fetch faces" in run.stderr
    assert not (tmp_path / "attention_results").exists()


def test_methods_are_compared_on_faces(folder, tmp_path, xai_command, detector):
    run = xai_command(
        "compare", "in/photo.png", "--config", detector, "--face", "all", "--methods", "center_prior,random",
        "--json",
    )  # fmt: skip
    assert run.code == 0, run.stderr
    rows = json.loads(run.stdout)["images"]
    assert [row["random"]["image"]["id"] for row in rows] == ["photo_face0", "photo_face1"]


def test_the_library_call(folder, finder):
    model = classifier()
    found = xai.explain(folder / "photo.png", model, face="all", method="center_prior")
    assert [one.sample.id for one in found] == ["photo_face0", "photo_face1"]
    assert found[0].sample.origin.image is found[1].sample.origin.image
    (largest,) = xai.explain(photograph(), model, face="largest", method="center_prior")
    assert largest.sample.id == "image-1_face0"
    # what was cut already is not cut again, and a mask is cut along
    (again,) = xai.explain(largest.sample, model, face="all", method="center_prior")
    assert again.sample is largest.sample
    mask = np.zeros((384, 384), bool)
    mask[88:128, 150:200] = True
    (masked,) = xai.explain(Sample("a", photograph(), mask=mask), model, face=0, method="center_prior")
    assert masked.sample.mask.shape == (256, 256) and masked.sample.mask.any()
    with pytest.raises(DataError, match="no face found"):
        xai.explain(photo(), model, face=0, method="center_prior")
    with pytest.raises(DataError, match="hold NaN"):
        marked = Sample("a", photograph(), landmarks=np.full((5, 2), np.nan))
        xai.explain(marked, model, face=0, method="center_prior")
    with pytest.raises(UsageError, match="no face True"):
        xai.explain(photo(), model, face=True, method="center_prior")


def test_many_photographs_are_not_held_together(finder, monkeypatch):
    monkeypatch.setattr("xai.explanation.faces.PIXELS", 300_000)
    samples = [Sample(str(index), photograph()) for index in range(4)]
    xai.explain(samples, classifier(), face="largest", method="center_prior")
    assert finder == [0, 3, 1]


def test_evidence_by_parts_of_faces_is_written_and_shown(folder, tmp_path, xai_command, detector):
    arguments = ("explain", "in/photo.png", "--config", detector, "--method", "center_prior", "--face", "all")
    run = xai_command(*arguments, "--pictures", "none", "--out", "out")
    assert run.code == 0
    assert "part of the face" in run.stdout
    assert "jaw and boundary" in run.stdout
    rows = (tmp_path / "out" / "face_parts.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 2 * 9
    assert json.loads((tmp_path / "out" / "face_parts.json").read_text())["images"] == 2
    record = json.loads((tmp_path / "out" / "photo_face1_explanation.json").read_text())
    assert record["face_parts"]["removals"]["states"] > 1
    run = xai_command(*arguments, "--pictures", "none", "--out", "plain", "--no-part-removal", "--json")
    found = json.loads(run.stdout)["explanations"]
    assert [one["face_parts"]["removals"] for one in found] == [None, None]
