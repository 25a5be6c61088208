"""What is written, for whom, and that it is whole or not there."""

import errno
import json
import os
from hashlib import sha256

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from safetensors.numpy import load_file
from tiny_detector import classifier, photo, write_photos

from xai.attr import DEFAULT_PRESET
from xai.core import DataError, Sample, UsageError
from xai.explanation import OutputError, explain

pytestmark = pytest.mark.usefixtures("coarse_pictures")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def record(path):
    return json.loads(path.read_text("utf-8"))


def test_files_of_one_image(tmp_path):
    (path,) = write_photos(tmp_path / "in", 1)
    out = tmp_path / "out"
    (explanation,) = explain(path, classifier(), out=out, seed=5)
    assert names(out) == [
        "0_comparison.png",
        "0_explanation.json",
        "0_fake_attention.png",
        "0_maps.safetensors",
        "0_real_attention.png",
    ]
    maps = load_file(out / "0_maps.safetensors")
    assert set(maps) == {"real", "fake"}
    np.testing.assert_array_equal(maps["fake"], explanation.maps["fake"])
    for picture in out.glob("*.png"):
        Image.open(picture).verify()
    content = record(out / "0_explanation.json")
    assert content["schema"] == "xai.explanation/1"
    assert content["image"]["path"] == str(path.resolve())
    assert content["image"]["sha256"] == sha256(path.read_bytes()).hexdigest()
    assert content["predicted"] == explanation.predicted
    assert content["probabilities"] == pytest.approx(explanation.probabilities)
    assert content["logits"]["fake"] == pytest.approx(float(explanation.logits[1]))
    assert content["maps"]["fake"]["sum"] == pytest.approx(float(explanation.maps["fake"].sum()))
    row, col = content["maps"]["real"]["strongest_patch"]
    assert explanation.maps["real"][row, col] == explanation.maps["real"].max()
    assert content["method"]["name"] == DEFAULT_PRESET.method
    assert content["method"]["options"].items() >= DEFAULT_PRESET.options.items()
    assert content["seed"] == 5
    assert len(content["model"]["fingerprint"]) == 64
    assert set(content["versions"]) >= {"xai", "torch", "transformers", "captum"}
    assert set(content["files"].values()) == set(names(out))
    assert content["warnings"] == []


def test_class_names_are_made_safe_and_a_contrast_is_drawn(tmp_path):
    (path,) = write_photos(tmp_path, 1)
    explain(path, classifier(("a/b", "c d")), out=tmp_path / "one", target=["a/b", "a/b-c d"])
    assert len(names(tmp_path / "one")) == 5
    assert all((tmp_path / "one" / name).is_file() for name in names(tmp_path / "one"))


def test_an_all_zero_map_is_a_warning_not_a_blank(tmp_path):
    model = classifier()
    model.module.head.weight.data[1] = 0  # nothing in the image changes the logit of fake
    (path,) = write_photos(tmp_path, 1)
    explain(path, model, out=tmp_path / "out")
    warnings = record(tmp_path / "out" / "0_explanation.json")["warnings"]
    assert warnings == ["no evidence for fake: the map is all zero"]


def test_equal_stems_never_overwrite_each_other(tmp_path):
    for folder, suffix in (("a", "png"), ("b", "png"), ("b", "bmp")):
        (tmp_path / folder).mkdir(exist_ok=True)
        photo(len(folder + suffix)).save(tmp_path / folder / f"face.{suffix}")
    out = tmp_path / "out"
    explain([tmp_path / "a", tmp_path / "b"], classifier(), out=out, target="fake")
    records = sorted(out.glob("*.json"))
    assert len(records) == 3
    assert {record(path)["image"]["path"] for path in records} == {
        str(tmp_path / name) for name in ("a/face.png", "b/face.png", "b/face.bmp")
    }
    before = names(out)
    explain([tmp_path / "b", tmp_path / "a"], classifier(), out=out, target="fake")
    assert names(out) == before, "the order of the images changes no name"


def test_a_second_run_overwrites_its_own_files_only(tmp_path):
    first, second = write_photos(tmp_path / "a", 1)[0], write_photos(tmp_path / "b", 1)[0]
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    explain(first, classifier(), out=out, target="fake")
    before = {path: path.read_bytes() for path in out.iterdir()}
    explain(second, classifier(), out=out, target="real")
    assert all(path.read_bytes() == content for path, content in before.items())
    assert len(names(out)) == len(before) + 3
    explain(second, classifier(), out=out, target="real")
    assert len(names(out)) == len(before) + 3
    explain(first, classifier(), out=out, target="fake")
    assert len(names(out)) == len(before) + 3


def test_a_foreign_file_in_the_place_of_a_record_is_left_alone(tmp_path):
    (path,) = write_photos(tmp_path, 1)
    (tmp_path / "0_explanation.json").write_text("[1, 2]")
    explain(path, classifier(), out=tmp_path, target="fake")
    assert (tmp_path / "0_explanation.json").read_text() == "[1, 2]"
    assert len(list(tmp_path.glob("0-*_explanation.json"))) == 1


def test_panels_go_by_the_stem_unless_there_is_one_image(tmp_path):
    from xai.explanation.files import write_explanation

    (explanation,) = explain(Sample("x", photo()), classifier(), target="fake")
    (other,) = explain(Sample("y", photo(1)), classifier(), target="fake")

    def write(what, alone):
        write_explanation(what, tmp_path, 0, {"layer_comparison": Figure}, alone=alone)
        return [name for name in names(tmp_path) if "layer" in name]

    assert write(explanation, False) == ["x_layer_comparison.png"]
    assert write(explanation, True) == ["layer_comparison.png", "x_layer_comparison.png"]
    assert len(write(explanation, True)) == 2
    assert write(other, True) == ["layer_comparison.png", "x_layer_comparison.png", "y_layer_comparison.png"]


def full_disk(monkeypatch, after):
    """Let `after` files be written, then say that the disk is full."""
    import xai.core.files as files

    written = []
    whole = files.replacing

    def replacing(path, durable=False):
        if len(written) >= after:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path.name)
        return whole(path)

    monkeypatch.setattr(files, "replacing", replacing)
    return written


def test_a_full_disk_is_one_error_and_what_was_finished_stays(tmp_path, monkeypatch):
    paths = write_photos(tmp_path / "in", 3)
    full_disk(monkeypatch, after=3)  # maps and record of the first image, maps of the second
    with pytest.raises(OutputError, match=r"Cannot write to .*: No space left on device"):
        explain(paths, classifier(), out=tmp_path / "out", target="fake")
    assert record(tmp_path / "out" / "0_explanation.json")["image"]["id"] == "0"
    assert not (tmp_path / "out" / "1_explanation.json").exists()
    assert not [name for name in names(tmp_path / "out") if name.startswith(".")], "no temporary file stays"


def test_a_write_that_fails_half_way_leaves_the_old_file(tmp_path, monkeypatch):
    (path,) = write_photos(tmp_path / "in", 1)
    out = tmp_path / "out"
    explain(path, classifier(), out=out, target="fake", layers="last_layer")
    before = (out / "0_maps.safetensors").read_bytes()

    def broken(maps):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("xai.explanation.files.safetensors_bytes", broken)
    with pytest.raises(OutputError, match="Input/output error"):
        explain(path, classifier(), out=out, target="fake", layers="all_layers")
    assert (out / "0_maps.safetensors").read_bytes() == before
    assert record(out / "0_explanation.json")["method"]["options"]["layers"] == "last_layer"


def test_an_unwritable_folder_is_one_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Choose another folder"):
        explain(Sample("x", photo()), classifier(), out=tmp_path / "file" / "out")


def test_long_names_of_images_and_classes_leave_no_image_out(tmp_path):
    names_of = ["x" * 251, "é" * 125, "short"]
    for number, name in enumerate(names_of):
        photo(number).save(tmp_path / f"{name}.png")
    model = classifier(labels=("real" * 60, "偽" * 80))
    out = tmp_path / "out"
    explanations = explain(sorted(tmp_path.glob("*.png")), model, out=out)
    assert len(explanations) == 3
    assert len(list(out.glob("*_explanation.json"))) == 3
    assert max(len(os.fsencode(name)) for name in names(out)) <= 255
    again = explain(sorted(tmp_path.glob("*.png")), model, out=out)
    assert len(again) == 3 and len(list(out.glob("*_explanation.json"))) == 3, "the same names in every run"


@pytest.mark.parametrize(
    ("pictures", "target", "written"),
    [
        ("all", None, ["0_comparison.png", "0_fake_attention.png", "0_real_attention.png"]),
        ("comparison", None, ["0_comparison.png"]),
        ("comparison", "fake", ["0_fake_attention.png"]),
        ("none", None, []),
    ],
)
def test_pictures_that_are_asked_for_and_no_others(tmp_path, pictures, target, written):
    (path,) = write_photos(tmp_path / "in", 1)
    out = tmp_path / "out"
    explain(path, classifier(), target=target, out=out, pictures=pictures)
    assert names(out) == sorted([*written, "0_explanation.json", "0_maps.safetensors"])
    assert set(record(out / "0_explanation.json")["files"].values()) == set(names(out))


def test_a_picture_of_maps_that_were_replaced_does_not_stay(tmp_path):
    (path,) = write_photos(tmp_path / "in", 1)
    out = tmp_path / "out"
    explain(path, classifier(), target="fake", out=out)
    explain(path, classifier(), target="real", out=out)
    (out / "0_notes.png").write_text("mine")
    explain(path, classifier(), target="real", out=out, pictures="none")
    assert names(out) == [
        "0_explanation.json",
        "0_fake_attention.png",  # of another class: nothing that is there now contradicts it
        "0_maps.safetensors",
        "0_notes.png",
    ]


def test_a_picture_that_no_record_lists_is_not_deleted(tmp_path):
    (path,) = write_photos(tmp_path / "in", 1)
    out = tmp_path / "out"
    out.mkdir()
    (out / "0_comparison.png").write_text("mine")
    explain(path, classifier(), out=out, pictures="none")
    assert (out / "0_comparison.png").read_text() == "mine"


def test_unknown_pictures_are_refused(tmp_path):
    with pytest.raises(UsageError, match="pictures='non'"):
        explain(Sample("x", photo()), classifier(), out=tmp_path, pictures="non")


def test_a_panorama_of_which_the_model_saw_little_is_said_to_be(tmp_path):
    wide, crop = photo(size=(160, 32)), (0.0, 0.0, 32.0, 32.0)
    explain([Sample("wide", wide), Sample("asked", wide, box=crop)], classifier(), out=tmp_path)
    (warning,) = record(tmp_path / "wide_explanation.json")["warnings"]
    assert warning == "The model saw 20.0% of the image; what its preprocessing cut off had no say."
    assert record(tmp_path / "asked_explanation.json")["warnings"] == [], "what was asked for is no news"


def test_what_is_written_is_in_the_language_of_the_caller(tmp_path):
    model = classifier()
    model.module.head.weight.data[1] = 0  # the warning is a sentence
    (path,) = write_photos(tmp_path, 1)
    explain(path, model, out=tmp_path / "out", lang="zh")
    (warning,) = record(tmp_path / "out" / "0_explanation.json")["warnings"]
    assert not warning.isascii()


def test_nothing_is_written_after_an_image_that_failed(tmp_path):
    paths = write_photos(tmp_path / "in", 3)
    paths[1].write_bytes(b"no image")
    with pytest.raises(DataError, match="1.png"):
        explain(paths, classifier(), target="fake", out=tmp_path / "out")
    assert {name[0] for name in names(tmp_path / "out")} == {"0"}


def test_pictures_of_classes_that_differ_in_case_have_names_of_their_own(tmp_path):
    """A file system that ignores case would keep one picture, under both names."""
    (path,) = write_photos(tmp_path / "in", 1)
    labels = ("Fake", "fake", "a/b", "a:b")
    explain(path, classifier(labels), target=list(labels), out=tmp_path / "out")
    pictures = [name for name in names(tmp_path / "out") if name.endswith("_attention.png")]
    assert len({name.casefold() for name in pictures}) == len(labels)
    files = record(tmp_path / "out" / "0_explanation.json")["files"]
    assert {files[f"attention of {name}"] for name in labels} == set(pictures)
    before = names(tmp_path / "out")
    explain(path, classifier(labels), target="fake", out=tmp_path / "out")  # the same name: replaced
    assert set(names(tmp_path / "out")) <= set(before)


def test_a_picture_is_not_replaced_by_that_of_another_class_of_another_image(tmp_path):
    """`0_face_swap`: face_swap of the image 0, and swap of the image 0_face."""
    (first, second) = write_photos(tmp_path / "in", 2)
    second = second.rename(second.with_name("0_face.png"))
    labels = ("swap", "face_swap")
    explain([first, second], classifier(labels), target=list(labels), out=tmp_path / "out")
    assert len([name for name in names(tmp_path / "out") if name.endswith("_attention.png")]) == 4
