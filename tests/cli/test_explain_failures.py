"""`xai explain` where something fails on the way: what was finished stays, one message says what happened."""

import errno
import json

import pytest
import torch
from PIL import Image
from tiny_detector import photo, write_photos

from xai.attr import DEFAULT_PRESET, METHODS
from xai.explanation import files

Default = METHODS[DEFAULT_PRESET.method]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_no_image_explained_is_3(tmp_path, xai_command, detector):
    (tmp_path / "empty").mkdir()
    run = xai_command("explain", "no.png", "*.gif", "empty", "--config", detector)
    assert (run.code, run.stdout) == (3, "")
    for message in ("no.png: no such file", "*.gif: nothing matches", "empty: no image in this folder"):
        assert message in run.stderr
    assert "0 of 3 images explained, 3 failed." in run.stderr


def test_memory_that_runs_out_halves_the_batch_or_fails_the_image(
    tmp_path, xai_command, detector, monkeypatch
):
    write_photos(tmp_path / "in", 3)
    whole, limit = Default.attribute_with_layers, 1

    def attribute_with_layers(self, pixels, *args):
        if len(pixels) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(self, pixels, *args)

    monkeypatch.setattr(Default, "attribute_with_layers", attribute_with_layers)
    command = ["explain", "in", "--config", detector]
    run = xai_command(*command)
    assert run.code == 0, run.stderr
    assert len(run.stdout.splitlines()) == 4
    limit = 0
    run = xai_command(*command)
    assert (run.code, run.stdout) == (3, "")
    assert run.stderr.count("Out of memory with one image on cpu.") == 3


def test_interrupted_keeps_what_was_finished(tmp_path, xai_command, detector, monkeypatch):
    write_photos(tmp_path / "in", 3)
    read, count = Image.open, 0

    def interrupt(*args, **options):
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return read(*args, **options)

    monkeypatch.setattr(Image, "open", interrupt)
    run = xai_command("explain", "in", "--config", detector, "--batch-size", "1", "--json")
    assert run.code == 130
    content = json.loads(run.stdout)
    assert len(content["explanations"]) == 1
    written = names(tmp_path / "attention_results")
    assert len(written) == 5
    assert "0_explanation.json" in written
    assert "Interrupted." in run.stderr
    assert "1 of 3 images explained, 2 not reached" in run.stderr


def test_a_full_disk_is_one_error_and_what_was_finished_stays(tmp_path, xai_command, detector, monkeypatch):
    write_photos(tmp_path / "in", 3)
    whole, records = files.write_json, []

    def write_json(path, content):
        if records:
            raise OSError(errno.ENOSPC, "No space left on device")
        records.append(path)
        whole(path, content)

    monkeypatch.setattr(files, "write_json", write_json)
    run = xai_command("explain", "in", "--config", detector)
    assert run.code == 4
    assert run.stderr.count("No space left on device") == 1
    assert len(run.stdout.splitlines()) == 2
    assert "1 of 3 images explained, 2 not reached" in run.stderr
    json.loads(records[0].read_text("utf-8"))


def test_an_unwritable_folder_shows_before_the_work(tmp_path, xai_command, detector):
    photo().save(tmp_path / "x.png")
    run = xai_command("explain", "x.png", "--config", detector, "--out", "x.png/out")
    assert (run.code, run.stdout) == (3, "")
    assert "Choose another folder or file." in run.stderr


def test_a_bug_is_a_short_message_and_a_traceback_only_with_debug(
    tmp_path, xai_command, detector, monkeypatch
):
    (path,) = write_photos(tmp_path / "in", 1)

    monkeypatch.setattr(Default, "attribute_with_layers", None)  # which our own code calls
    run = xai_command("explain", path, "--config", detector)
    assert (run.code, run.stdout) == (1, "")
    assert "Internal error: TypeError: 'NoneType' object is not callable" in run.stderr
    assert "--debug" in run.stderr
    assert "Traceback" not in run.stderr
    run = xai_command("explain", path, "--config", detector, "--debug")
    assert run.code == 1
    assert "Traceback" in run.stderr
    assert "attribute_with_layers(" in run.stderr


@pytest.mark.parametrize("command", [("explain",), ("robustness",), ("compare", "--methods", "center_prior")])
def test_a_read_only_folder_shows_before_the_work(tmp_path, xai_command, detector, monkeypatch, command):
    photo().save(tmp_path / "photo.png")

    def refused(dir):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("xai.core.files.TemporaryFile", refused)
    monkeypatch.setattr("xai.explanation.explainer.Explainer.explain", None)
    monkeypatch.setattr("xai.explanation.compare_methods", None)
    run = xai_command(*command, "photo.png", "--config", detector, "-o", "out")
    assert run.code == 3, run.stderr
    assert run.stderr.splitlines()[0] == "Error: Cannot write to out: Permission denied."
