"""`xai explain`: what is printed, written and returned, for good and for bad input."""

import csv
import json
import os
from pathlib import Path

import pytest
import torch
from mixed_images import write_mixed
from page_files import page_of
from safetensors.numpy import load_file
from tiny_detector import photo, write_photos

from xai.core import DataError
from xai.explanation import page as page_module


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_of_30_mixed_images_with_3_broken_ones(tmp_path, xai_command, detector):
    broken = write_mixed(tmp_path / "in")
    run = xai_command("explain", "in", "--config", detector, "--json")
    assert run.code == 4
    content = json.loads(run.stdout)
    assert len(content["explanations"]) == 27
    assert sorted(one["image"] for one in content["failures"]) == sorted(
        str(path.relative_to(tmp_path)) for path in broken
    )
    assert len(list((tmp_path / "attention_results").glob("*/*_explanation.json"))) == 27
    assert len(list((tmp_path / "attention_results").glob("*/*_comparison.png"))) == 27
    said = run.stderr.splitlines()
    assert [line.split(":")[0] for line in said[:3]] == ["Failed"] * 3
    assert said[3] == "27 of 30 images explained, 3 failed. Results: attention_results/"
    assert said[4].startswith("Next: ")


def test_a_file_name_that_is_no_text_is_written_as_escapes(tmp_path, xai_command, detector):
    (tmp_path / "in").mkdir()
    path = Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/bad\xff.png"))
    try:
        photo(0).save(path)
    except OSError:
        pytest.skip("this file system takes names of valid text only")
    run = xai_command("explain", "in", "--config", detector, "--out", "out", "--report", "--json")
    assert run.code == 0, run.stderr
    assert Path(json.loads(run.stdout)["explanations"][0]["image"]["path"]) == path
    (record,) = (tmp_path / "out").glob("*.json")
    assert Path(json.loads(record.read_text("utf-8"))["image"]["path"]) == path
    assert page_of(tmp_path / "out" / "index.html").images[0].name == "bad\\udcff.png"


def test_pictures_maps_record_and_table(tmp_path, xai_command, detector):
    write_photos(tmp_path / "in", 2)
    run = xai_command("explain", "in/*.png", "--config", detector, "--out", "out")
    assert run.code == 0, run.stderr
    assert [line.split()[0].rsplit("/", 1)[-1] for line in run.stdout.splitlines()] == [
        "image",
        "0.png",
        "1.png",
    ]
    assert names(tmp_path / "out")[:5] == [
        "0_comparison.png",
        "0_explanation.json",
        "0_fake_attention.png",
        "0_maps.safetensors",
        "0_real_attention.png",
    ]
    assert load_file(tmp_path / "out" / "1_maps.safetensors")["fake"].shape == (4, 4)


@pytest.mark.parametrize("held", [100, 1_000_000])
def test_json_is_one_object_as_the_records_on_disk_say_it(tmp_path, xai_command, detector, monkeypatch, held):
    monkeypatch.setattr("xai.cli.explain_run.HELD", held)  # characters, of records of some thousands
    write_photos(tmp_path / "in", 3)
    (tmp_path / "in" / "1.png").write_bytes(b"")
    monkeypatch.setattr("xai.core.csv_table.HELD", held)
    more = ["--pictures", "none", "--csv", "tables/all.csv"]
    run = xai_command("explain", "in", "--config", detector, "--json", *more)
    content = json.loads(run.stdout)
    records = [
        json.loads((tmp_path / "attention_results" / f"{stem}_explanation.json").read_text("utf-8"))
        for stem in "02"
    ]
    assert content["explanations"] == records
    assert content["failures"] == [{"image": "in/1.png", "error": "in/1.png: the file is empty."}]
    assert run.stdout == json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    with (tmp_path / "tables" / "all.csv").open(encoding="utf-8", newline="") as file:
        lines = [(line["image"], line["class"], float(line["max"])) for line in csv.DictReader(file)]
    assert lines == [
        (record["image"]["id"], label, values["max"])
        for record in records
        for label, values in record["maps"].items()
    ]


def test_json_of_nothing_explained(tmp_path, xai_command, detector):
    run = xai_command("explain", "no.png", "--config", detector, "--json")
    assert run.code == 3
    assert json.loads(run.stdout)["explanations"] == []


def test_a_folder_per_image_is_a_choice(tmp_path, xai_command, detector):
    (path,) = write_photos(tmp_path / "in", 1)
    run = xai_command("explain", path, "--config", detector, "--folders", "--pictures", "comparison")
    assert run.code == 0, run.stderr
    assert names(tmp_path / "attention_results" / "0") == [
        "0_comparison.png",
        "0_explanation.json",
        "0_maps.safetensors",
    ]


def test_options_reach_the_method(tmp_path, xai_command, detector):
    (path,) = write_photos(tmp_path / "in", 1)
    options = ["--layers", "-1,0", "--head-fusion", "max", "--layer-fusion", "sum", "--clamp", "none"]
    run = xai_command(
        "explain", path, "--config", detector, *options, "-t", "1", "-t", "fake-real", "--dtype", "float64",
        "--json",
    )  # fmt: skip
    assert run.code == 0, run.stderr
    (record,) = json.loads(run.stdout)["explanations"]
    assert record["method"]["options"] == {
        "layers": [-1, 0],
        "head_fusion": "max",
        "layer_fusion": "sum",
        "clamp": None,
        "rows": "read_out",
        "rules": None,
    }
    assert list(record["maps"]) == ["fake", "fake-real"]
    assert record["maps"]["fake"]["min"] < 0
    assert record["model"]["dtype"] == "float64"


def test_a_crop_is_explained_and_drawn_on_the_whole_image(tmp_path, xai_command, detector):
    (path,) = write_photos(tmp_path / "in", 1)
    run = xai_command("explain", path, "--config", detector, "--box", "4,2,20,20", "--json")
    assert run.code == 0, run.stderr
    (record,) = json.loads(run.stdout)["explanations"]
    assert record["image"]["box"] == [4, 2, 20, 20]
    assert record["geometry"] == {"size": [40, 32], "box": [4, 2, 24, 22]}


def test_boxes_from_a_file_and_an_image_without_one(tmp_path, xai_command, detector):
    write_photos(tmp_path / "in", 3)
    (tmp_path / "boxes.csv").write_text("image,x,y,w,h\n0.png,0,0,9,9\n1.png,30,30,9,9\n")
    run = xai_command("explain", "in", "--config", detector, "--boxes", "boxes.csv", "--json")
    assert run.code == 4
    content = json.loads(run.stdout)
    assert [record["image"]["id"] for record in content["explanations"]] == ["0"]
    assert "does not lie inside the image" in content["failures"][0]["error"]
    assert "no box in boxes.csv" in content["failures"][1]["error"]


def test_panels_and_page(tmp_path, xai_command, detector):
    write_photos(tmp_path / "in", 2)
    run = xai_command("explain", "in", "--config", detector, "--layers-panel", "--heads-panel", "--report")
    assert run.code == 0, run.stderr
    written = names(tmp_path / "attention_results")
    for stem in ("0", "1"):
        assert f"{stem}_layer_comparison.png" in written
        assert f"{stem}_head_comparison.png" in written
    page = page_of(tmp_path / "attention_results" / "index.html")
    assert (page.kind, page.shown) == ("explanation", (2, 2))
    assert [image.name for image in page.images] == ["0.png", "1.png"]
    assert all(set(image.products) == {"real", "fake"} and image.removals for image in page.images)
    assert page.fusion is not None and page.fusion.layers == [0, 1, 2, 3]


def test_a_page_holds_what_was_explained_and_the_options_it_was_made_with(tmp_path, xai_command, detector):
    write_mixed(tmp_path / "in")
    options = ["--method", "attention_rollout", "--target", "fake", "--seed", "5", "--report", "--json"]
    run = xai_command("explain", "in", "--config", detector, *options)
    assert run.code == 4
    content = json.loads(run.stdout)["explanations"]
    page = page_of(tmp_path / "attention_results" / "index.html")
    assert page.shown == (27, 30)
    for image, record in zip(page.images, content, strict=True):
        assert image.probabilities == record["probabilities"]
        assert image.sha256 == record["image"]["sha256"]
        assert image.maps["attention_rollout"]["fake"].limit == pytest.approx(
            max(abs(record["maps"]["fake"]["max"]), abs(record["maps"]["fake"]["min"]))
        )
    assert page.provenance["settings"]["seed"] == 5
    assert page.fusion is None
    assert str(tmp_path) not in page.model_dump_json()


def test_an_image_that_the_page_cannot_take_leaves_the_others_in_it(
    tmp_path, xai_command, detector, monkeypatch
):
    write_photos(tmp_path / "in", 3)
    made = page_module.image_of

    def broken(explanation, **options):
        if explanation.sample.id == "1":
            raise DataError("this one is odd.")
        return made(explanation, **options)

    monkeypatch.setattr(page_module, "image_of", broken)
    run = xai_command("explain", "in", "--config", detector, "--report")
    assert run.code == 0, run.stderr
    assert "1 is left out of the page: this one is odd." in run.stderr
    found = page_of(tmp_path / "attention_results" / "index.html")
    assert [image.id for image in found.images] == ["0", "2"]


def test_a_page_that_browsers_are_slow_with_is_said(tmp_path, xai_command, detector, monkeypatch):
    monkeypatch.setattr("xai.cli.output.HEAVY_PAGE", 1000)
    (path,) = write_photos(tmp_path / "in", 1)
    run = xai_command("explain", path, "--config", detector, "--report")
    assert run.code == 0, run.stderr
    assert "index.html has 0 MB, which browsers are slow with" in run.stderr


def test_an_all_zero_map_is_said(tmp_path, xai_command, detector):
    weights = torch.load(detector.with_suffix(".pth"), weights_only=True)
    weights["head.weight"][0] = 0  # nothing in the image changes the logit of real
    torch.save(weights, tmp_path / "zero.pth")
    (path,) = write_photos(tmp_path / "in", 1)
    command = ["explain", path, "--config", detector, "--weights", tmp_path / "zero.pth"]
    assert "no evidence for real: the map is all zero" in xai_command(*command).stdout
    (record,) = json.loads(xai_command(*command, "--json").stdout)["explanations"]
    assert record["warnings"] == ["no evidence for real: the map is all zero"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "gradient_attention"], "Did you mean 'gradient_weighted_attention'?"),
        (["--method", "attention_rollout", "--clamp", "heads"], "'attention_rollout' has no option 'clamp'"),
        (["--method", "random", "--layers-panel"], "random is not fused"),
        (["--layers", "last_layers"], "Did you mean 'last_layer'?"),
        (["--layers", "9"], "the model has 4 attention layers"),
        (["--head-fusion", "mea"], "Did you mean 'mean'?"),
        (["--clamp", "head"], "Did you mean 'heads'?"),
        (["--target", "fak"], "Did you mean 'fake'?"),
        (["--target", "2"], "The model has 2 classes"),
        (["--box", "1,2,3"], "is not x,y,w,h"),
        (["--boxes", "missing.csv"], "Cannot read boxes from missing.csv"),
        (["--box", "0,0,9,9", "--boxes", "b.csv"], "Give one of them"),
        (["--model", "demo"], "--model and --config both name a model"),
        (["--dtype", "float23"], "Did you mean 'float32'?"),
        (["--device", "abacus"], "abacus"),
        (["--prompts", "a face"], "reads no prompts"),
        (["--batch-size", "0"], "--batch-size"),
        (["--pictures", "comparisons"], "Did you mean 'comparison'?"),
    ],
)
def test_a_wrong_option_is_one_message_and_2(tmp_path, xai_command, detector, options, message):
    (path,) = write_photos(tmp_path / "in", 1)
    run = xai_command("explain", path, "--config", detector, *options)
    assert (run.code, run.stdout) == (2, "")
    assert message in run.stderr
    assert "Traceback" not in run.stderr
