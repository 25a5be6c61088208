"""The program of the published benchmark: manifests in turns, and paths left out of what is published."""

import csv
import json
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.clip_forgery import (
    RUNS,
    TOWERS,
    in_turns,
    publish,
    tuned_rows,
    write_config,
    write_manifests,
)
from benchmarks.train_clip_detector import check_fit


def written(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name).open(newline="") as file:
        return list(csv.DictReader(file))


def forge(folder: Path, kinds: dict[str, int]) -> None:
    """A manifest as `xai forge` writes it, twins included."""
    folder.mkdir(parents=True)
    lines = ["path,label,mask,group,kind"]
    for kind, count in kinds.items():
        for i in range(count):
            lines.append(f"images/a-s0-{kind}{i}-{kind}.png,fake,masks/{kind}{i}.png,a{i},{kind}")
            lines.append(f"images/a-s0-{kind}{i}-pristine.png,real,,a{i},pristine")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")


def test_any_start_of_the_images_holds_every_kind_alike(tmp_path):
    forge(tmp_path / "held_out" / "local", {"blur": 3, "noise": 3})
    forge(tmp_path / "held_out" / "portrait", {"face_swap": 3})
    write_manifests(tmp_path, "held_out", seed=0)
    forged, pristine = written(tmp_path, "forged.csv"), written(tmp_path, "pristine.csv")
    for turn in range(3):
        some = forged[3 * turn : 3 * turn + 3]
        assert {row["kind"] for row in some} == {"blur", "noise", "face_swap"}
    assert len({row["path"] for row in forged}) == 9
    for one, twin in zip(forged, pristine, strict=True):
        assert twin["label"] == "real" and twin["mask"] == ""
        assert one["path"].replace(f"-{one['kind']}.png", "-pristine.png") == twin["path"]
    assert forged[0]["path"].startswith("held_out/") and forged[0]["mask"].startswith("held_out/")


def test_options_are_tuned_over_kinds_that_took_no_part(tmp_path):
    forge(tmp_path / "calibration" / "local", {"blur": 2, "noise": 2})
    write_manifests(tmp_path, "calibration", seed=0)
    rows = written(tmp_path, "calibration.csv")
    assert len(rows) == 4 and all(row["group"] == row["kind"] and row["label"] == "fake" for row in rows)


def test_a_detector_that_was_fitted_otherwise_is_not_taken_for_this_one(tmp_path):
    (tmp_path / "evaluation.json").write_text(
        json.dumps({"training": {"steps of tuned norms": 280, "seed": 0}})
    )
    check_fit(tmp_path, {"steps of tuned norms": 280, "seed": 0})
    with pytest.raises(SystemExit, match="pairs None instead of 54"):  # an older evaluation
        check_fit(tmp_path, {"pairs": 54})
    with pytest.raises(SystemExit, match="steps of tuned norms 280 instead of 1400"):
        check_fit(tmp_path, {"steps of tuned norms": 1400, "seed": 0})


def test_the_order_within_a_kind_is_random_and_seeded():
    rows = [{"kind": "blur", "path": str(i)} for i in range(20)]
    assert in_turns(rows, 1) == in_turns(rows, 1) != in_turns(rows, 2)
    assert in_turns(rows, 1) != rows


def test_what_is_published_names_no_folder_of_this_machine(tmp_path):
    out, to = tmp_path / "out", tmp_path / "reports"
    run = out / "tower" / "forged"
    run.mkdir(parents=True)
    (run / "run.json").write_text(f'{{"model": "{out}/tower/detector/detector.yaml"}}')
    (run / "summary.json").write_text("too large to be kept")
    Image.new("RGB", (64, 48), "orange").save(out / "tower" / "examples.png")
    (out / "findings.md").write_text("# Findings\n")
    publish(["tower"], out, to)
    assert (to / "tower/forged/run.json").read_text() == '{"model":"tower/detector/detector.yaml"}\n'
    assert [one.name for one in (to / "tower" / "forged").iterdir()] == ["run.json"]
    with Image.open(to / "tower" / "examples.webp") as picture:
        assert picture.size == (64, 48) and picture.format == "WEBP"
    assert (to / "findings.md").read_text() == "# Findings\n"
    assert not (to / "tower" / "costly").exists()


def test_configurations_do_not_replace_what_was_chosen(tmp_path):
    """Both lie in the tower's folder; the run `tuned` reads the choices each time it goes on."""
    said = {"method": "gradient_weighted_attention", "options": {"layers": "last_layer"}}
    for tower in TOWERS:
        (tmp_path / tower).mkdir()
        (tmp_path / tower / "tuning.yaml").write_text(yaml.safe_dump(said))
    before = tuned_rows(TOWERS, tmp_path)
    for run in (*RUNS, "calibration"):
        for tower in TOWERS:
            write_config(run, "demo", tmp_path, tmp_path / tower, 1, None)
    assert tuned_rows(TOWERS, tmp_path) == before
    assert [row["options"] for row in before] == [said["options"]] * 2
