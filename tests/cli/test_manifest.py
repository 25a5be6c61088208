"""`xai manifest`, and what reads it: explanations with what the manifest knows of the images."""

import csv
import json

import numpy as np
import pytest
from tiny_detector import photo

HEAD = "movie_name,click_locations,manipulation\n"


@pytest.fixture
def folder(tmp_path):
    """Two videos of a pair, of three frames each; of one more frame only the name is there."""
    listed = {}
    for label, base, name in (("x_Real", "real", "000"), ("x_Fake", "x", "000_003")):
        frames = tmp_path / "data" / base / "frames" / name
        frames.mkdir(parents=True)
        for number in range(3):
            photo(number).save(frames / f"{number}.png")
        (tmp_path / "data" / base / "landmarks" / name).mkdir(parents=True)
        np.save(tmp_path / "data" / base / "landmarks" / name / "1.npy", np.full((68, 2), 5))
        paths = [f"/old/{base}/frames/{name}/{number}.png" for number in range(4)]
        listed[label] = {"test": {name: {"label": label, "frames": paths}}}
    (tmp_path / "x.json").write_text(json.dumps({"x": listed}))
    return tmp_path


def test_a_dataset_s_json_becomes_a_manifest_that_is_explained(folder, xai_command, detector):
    run = xai_command("manifest", "x.json", "--root", "data", "--frames", "2", "--out", "out/faces.csv")
    assert run.code == 0, run.stderr
    assert [line.split() for line in run.stdout.splitlines()[1:] if "pristine" in line or "fake" in line] == [
        ["fake", "x", "2"],
        ["real", "pristine", "2"],
    ]
    assert "x.json: /old/ was read as" in run.stderr and "Missing: data/x/frames/000_003/3.png" in run.stderr
    assert "4 images of 2 videos in 1 groups, 0 with a mask, 0 with landmarks, 0 with clicks" in run.stderr
    with (folder / "out/faces.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["real", "real", "fake", "fake"]
    assert {row["group"] for row in rows} == {"000_003"}
    run = xai_command("explain", "out/faces.csv", "--config", detector, "--json", "--pictures", "none")
    assert run.code == 0, run.stderr
    records = json.loads(run.stdout)["explanations"]
    assert [one["image"]["label"] for one in records] == ["real", "real", "fake", "fake"]
    assert len({one["image"]["id"] for one in records}) == 4


def test_everything_is_in_the_json(folder, xai_command):
    run = xai_command("manifest", "x.json", "--root", "data", "--json")
    content = json.loads(run.stdout)
    assert (content["images"], content["videos"], content["missing"], content["landmarks"]) == (6, 2, 2, 2)
    assert content["groups"] == 1 and len(content["missing_images"]) == 2
    assert {"label": "fake", "kind": "x", "images": 3} in content["kinds"]


def test_clicks_of_exddv_are_points_that_a_map_may_hit(folder, xai_command, detector):
    (folder / "ExDDV.csv").write_text(HEAD + '000_003.mp4,"{""1"": {""x"": 0.5, ""y"": 0.5}}",x\n')
    (folder / "data/x/frames").rename(folder / "frames")
    run = xai_command("manifest", "ExDDV.csv", "--root", "frames")
    assert run.code == 0, run.stderr
    assert "1 images of 1 videos in 1 groups, 0 with a mask, 0 with landmarks, 1 with clicks" in run.stderr
    run = xai_command(
        "explain",
        "manifest.csv",
        "--config",
        detector,
        "--json",
        "--method",
        "center_prior",
        "--pictures",
        "none",
    )
    assert run.code == 0, run.stderr
    (record,) = json.loads(run.stdout)["explanations"]
    assert {one["points_near_click"] for one in record["maps"].values()} <= {True, False}
    assert "points_into_mask" not in record["maps"]["fake"]


def test_what_is_wrong_is_said(folder, xai_command):
    assert xai_command("manifest", "x.json", "--root", "nowhere").code == 3
    assert xai_command("manifest", "x.json", "--root", "data", "--label", "x=odd").code == 2
    assert xai_command("manifest", "x.json", "--root", "data", "--split", "dev").code == 2
