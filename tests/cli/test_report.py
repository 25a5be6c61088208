"""`xai report`: a run as one page."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_detector import classifier, photo

from xai.bench import BenchmarkConfig, page_of_run, run_benchmark
from xai.report.page import chart_library
from xai.report.payload import Page


def test_a_page_is_written_beside_the_run(xai_command, finished):
    run = xai_command("report", finished)
    assert run.code == 0, run.stderr
    text = (finished / "report.html").read_text("utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "3 of 3 images" in run.stderr
    assert run.stderr.strip().splitlines()[-1] == f"Next: open {finished / 'report.html'}"
    assert not run.stdout


def test_a_file_name_that_is_no_text_goes_through_run_and_page(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    try:
        photo(0).save(Path(os.fsdecode(os.fsencode(folder) + b"/bad\xff.png")))
    except OSError:
        pytest.skip("this file system takes names of valid text only")
    config = BenchmarkConfig.model_validate({
        "data": {"images": str(folder)},
        "methods": ["attention_rollout"],
        "controls": {"random_seeds": 1, "sobel": False, "raw_attention": False, "greedy_images": 0},
        "protocols": [{"base": "vit-mean", "steps": 4}],
        "metrics": ["srg"],
        "statistics": {"resamples": 99},
    })  # fmt: skip
    run_benchmark(config, tmp_path / "run", classifier=classifier(size=(32, 32)))
    (image,) = page_of_run(tmp_path / "run").images
    assert image.id == "bad\\udcff"
    assert image.picture


def test_data_alone_is_the_page(xai_command, finished, tmp_path):
    run = xai_command("report", finished, "--data-only", "--images", 2)
    assert run.code == 0, run.stderr
    found = Page.model_validate_json((finished / "report.json").read_text("utf-8"))
    made = page_of_run(finished, images=2)
    assert found.model_copy(update={"created": made.created}) == made
    run = xai_command("report", finished, "--data-only", "--all-images", "--out", "new/page.json", "--json")
    assert run.code == 0, run.stderr
    said = json.loads(run.stdout)
    assert said == {
        "file": "new/page.json",
        "bytes": (tmp_path / "new" / "page.json").stat().st_size,
        "images": 3,
        "of": 3,
    }


def test_what_cannot_be_written_is_one_message(xai_command, finished, tmp_path):
    cases = {
        ("nowhere",): (3, "holds no benchmark run"),
        (finished, "--images", "2", "--all-images"): (2, "contradict"),
        (finished, "--images", "0"): (2, "--images"),
        (finished, "--out", tmp_path): (3, "Cannot write"),
    }
    for arguments, (code, words) in cases.items():
        run = xai_command("report", *arguments)
        assert run.code == code, run.stderr
        assert words in run.stderr
        assert "Traceback" not in run.stderr


def test_a_full_disk_leaves_the_summary_that_was_there(xai_command, finished, tmp_path, monkeypatch):
    import errno
    import os
    import shutil

    run = tmp_path / "run"
    shutil.copytree(finished, run)
    assert xai_command("benchmark", "summary", run).code == 0
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    said = xai_command("benchmark", "summary", run)
    assert said.code == 3 and "The disk is full" in said.stderr and "Internal" not in said.stderr
    assert xai_command("benchmark", "export", run, "--out", tmp_path / "new" / "all.csv").code == 3
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert not list((tmp_path / "new").iterdir())


def test_missing_folders_are_made(xai_command, finished, tmp_path):
    assert xai_command("benchmark", "export", finished, "--out", "no/such/all.csv").code == 0
    assert xai_command("report", finished, "--data-only", "--out", "nor/this/page.json").code == 0
    assert xai_command("benchmark", "init", "nor/that/b.yaml").code == 0
    assert all(
        (tmp_path / one).is_file() for one in ("no/such/all.csv", "nor/this/page.json", "nor/that/b.yaml")
    )


def test_a_full_disk_is_one_message_and_leaves_no_half_page(xai_command, finished, tmp_path, monkeypatch):
    import errno

    import xai.report

    def full(page, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(xai.report, "write_page", full)
    run = xai_command("report", finished, "--out", "page.html")
    assert run.code == 3
    assert "is full" in run.stderr
    assert not (tmp_path / "page.html").exists()


def test_a_run_without_any_record_is_one_message(xai_command, finished, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("run.json", "plan.parquet"):
        (tmp_path / "empty" / name).write_bytes((finished / name).read_bytes())
    run = xai_command("report", "empty")
    assert run.code == 3
    assert "no record" in run.stderr


def test_a_run_without_its_plan_is_one_message(xai_command, finished, tmp_path):
    (tmp_path / "planless").mkdir()
    (tmp_path / "planless" / "run.json").write_bytes((finished / "run.json").read_bytes())
    run = xai_command("report", "planless")
    assert run.code == 3
    assert "plan.parquet is missing" in run.stderr


def test_a_missing_library_is_one_message(xai_command, finished, monkeypatch):
    chart_library.cache_clear()
    for name in ("vl_convert", "pyarrow"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            run = xai_command("report", finished, "--out", "page.html")
        assert run.code == 2, run.stderr
        assert "pip install" in run.stderr


def test_help_needs_no_torch():
    code = "import sys; from xai.cli.main import app; app(['report', '--help'], standalone_mode=False); " \
           "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--data-only" in done.stdout
