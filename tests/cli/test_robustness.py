"""`xai robustness`, and `xai explain --stability`."""

import json

from page_files import page_of
from tiny_detector import write_photos

from xai.explanation.stability import StabilityCheck


def test_a_table_sentences_and_files(tmp_path, xai_command, detector):
    write_photos(tmp_path / "in", 6)
    (tmp_path / "in/broken.png").write_bytes(b"no image")
    run = xai_command(
        "robustness", "in", "--config", detector, "--method", "raw_attention", "--pictures", "1", "-o", "out"
    )
    assert run.code == 4, run.stderr
    lines = run.stdout.splitlines()
    assert lines[0].split()[:2] == ["degradation", "agreement"] and lines[1].startswith("JPEG 95  ")
    assert lines[10].startswith("two uploads") and " [" in lines[1]
    assert "rank correlation" in run.stdout and "Too few other images" not in run.stdout
    assert "6 images explained 11 times each. Results: out/" in run.stderr and "broken.png" in run.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "0_robustness.png", "robustness.csv", "robustness.json",
    ]  # fmt: skip


def test_json_in_chinese_has_the_same_keys(tmp_path, xai_command, detector):
    write_photos(tmp_path / "in", 1)
    arguments = ["robustness", "in", "--config", detector, "--method", "raw_attention", "--pictures", "0"]
    english, chinese = (
        json.loads(xai_command(*arguments, "--json", "--lang", lang).stdout) for lang in ("en", "zh")
    )
    assert english.keys() == chinese.keys() and english["images"] == chinese["images"]
    assert english["sentences"] != chinese["sentences"]
    assert not any("after" in one for one in chinese["sentences"])


def test_stability_on_the_page_needs_the_page(tmp_path, xai_command, detector):
    write_photos(tmp_path / "in", 1)
    arguments = [
        "explain",
        "in",
        "--config",
        detector,
        "--method",
        "raw_attention",
        "--stability",
        "-o",
        "out",
    ]
    refused = xai_command(*arguments)
    assert refused.code == 2 and "--report" in refused.stderr
    run = xai_command(*arguments, "--report", "--pictures", "none")
    assert run.code == 0, run.stderr
    (image,) = page_of(tmp_path / "out/index.html").images
    assert [one.title for one in image.stability.degraded][::5] == ["JPEG 95", "JPEG 50"]


def test_interrupted_it_says_what_it_has(tmp_path, xai_command, detector, monkeypatch):
    write_photos(tmp_path / "in", 3)
    call, done = StabilityCheck.__call__, []

    def interrupted(self, explanation):
        found = call(self, explanation)
        done.append(found)
        if len(done) == 2:  # after the maps are kept, before the result is
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(StabilityCheck, "__call__", interrupted)
    run = xai_command("robustness", "in", "--config", detector, "--method", "raw_attention", "-o", "out")
    assert run.code == 130 and "Interrupted." in run.stderr and "1 image explained 11 times" in run.stderr
    assert len((tmp_path / "out/robustness.csv").read_text().splitlines()) == 11


def test_nothing_to_measure_says_how_many_and_what_to_do(tmp_path, xai_command, detector):
    (tmp_path / "broken.png").write_bytes(b"no image")
    run = xai_command("robustness", "broken.png", "--config", detector, "-o", "out")
    assert run.code == 3
    lines = run.stderr.splitlines()
    assert lines[0].startswith("Failed: broken.png") and "0 of 1 images explained, 1 failed." in lines
    assert lines[-1].startswith("Next: ")
    assert not (tmp_path / "out").exists()
