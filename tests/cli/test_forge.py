"""`xai forge`: photographs in; images, masks and a manifest out, which the benchmark reads."""

import csv
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from xai.cli import forge as command
from xai.data import load_samples, read_manifest
from xai.data.forged_set import ForgedSet
from xai.data.forgery import KINDS
from xai.report import save, saving


@pytest.fixture
def photos(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        pixels = rng.integers(0, 255, (70, 90, 3), np.uint8)
        Image.fromarray(pixels).resize((180, 140)).save(tmp_path / "in" / f"{name}.png")
    return tmp_path / "in"


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}


def test_images_masks_and_a_manifest(tmp_path, photos, xai_command):
    run = xai_command("forge", photos, "--out", "set", "--count", 27, "--size", 64)
    assert run.code == 0, run.stderr
    assert run.stderr.splitlines()[0] == "54 of 54 images. Results: set/"
    assert run.stderr.splitlines()[1].startswith("Next: xai benchmark init")
    shown = {tuple(line.split()) for line in run.stdout.splitlines()[1:]}
    kinds = {(name, kind.label, "3") for name, kind in KINDS.items() if name != "face_swap"}
    assert shown == kinds | {("pristine", "real", "27")}
    out = tmp_path / "set"
    assert len(list((out / "images").iterdir())) == 54 and len(list((out / "masks").iterdir())) == 27
    assert not (out / "ATTRIBUTION.md").exists()
    samples = list(load_samples(read_manifest(out / "manifest.csv")))
    for fake, real in zip(samples[::2], samples[1::2], strict=True):
        assert fake.image.size == real.image.size == (64, 64)
        assert real.kind == "pristine" and real.mask is None and real.label == "real"
        assert fake.group == real.group and fake.label == KINDS[fake.kind].label
        changed = (np.asarray(fake.image) != np.asarray(real.image)).any(axis=2)
        assert changed[fake.mask].mean() > 0.5 > changed[~fake.mask].mean()
    record = json.loads((out / "forgeries.json").read_text())
    assert record["settings"]["size"] == 64 and set(record["versions"]) == {"xai", "numpy", "pillow"}
    assert [one["id"] for one in record["images"]] == [sample.id for sample in samples]
    assert {(one["kind"], one["donor"] is not None) for one in record["images"]} >= {
        ("splice", True), ("noise", False), ("pristine", False)
    }  # fmt: skip


def test_the_default_is_every_kind_but_the_one_for_portraits():
    assert command.KINDS.split(",") == [kind for kind in KINDS if not KINDS[kind].portrait]


def test_it_goes_on_where_it_was_stopped(tmp_path, photos, xai_command, monkeypatch):
    options = "--count", 6, "--size", 48, "--kinds", "noise, splice", "--json"
    assert xai_command("forge", photos, "--out", "whole", *options).code == 0
    files, asked = ForgedSet.files, []

    def stop(self, recipe):
        asked.append(recipe.id)
        if len(asked) == 5:
            raise KeyboardInterrupt
        return files(self, recipe)

    with monkeypatch.context() as patch:
        patch.setattr(ForgedSet, "files", stop)
        run = xai_command("forge", photos, "--out", "parts", *options)
    assert run.code == 130 and "run the same command again" in run.stderr
    assert not (tmp_path / "parts/manifest.csv").exists(), "a manifest stands for a finished set"
    run = xai_command("forge", photos, "--out", "parts", *options)
    assert run.code == 0
    told = json.loads(run.stdout)
    assert (told["made"], told["there_before"], told["failures"]) == (8, 4, [])
    assert content(tmp_path / "parts") == content(tmp_path / "whole")


def test_a_folder_of_other_settings_is_refused(tmp_path, photos, xai_command):
    options = "--out", "set", "--count", 2, "--size", 48, "--kinds", "noise"
    assert xai_command("forge", photos, *options).code == 0
    before = content(tmp_path / "set")
    run = xai_command("forge", photos, *options, "--seed", 1)
    assert run.code == 2 and "set holds forgeries of other settings: seed 0 there, 1 here" in run.stderr
    Image.new("RGB", (90, 90), "red").save(photos / "a.png")
    run = xai_command("forge", photos, *options)
    assert run.code == 2 and "other photographs: a " in run.stderr
    assert content(tmp_path / "set") == before
    run = xai_command("forge", photos, "--out", "in", "--count", 2, "--size", 48)
    assert run.code == 2 and "in is not empty" in run.stderr
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/forgeries.json").write_text("[]")
    run = xai_command("forge", photos, "--out", "odd", "--count", 2, "--size", 48)
    assert run.code == 2 and "other schema" in run.stderr


def test_broken_and_small_photographs_are_told_and_the_rest_is_forged(tmp_path, photos, xai_command):
    (photos / "none.png").write_bytes(b"no image")
    Image.new("RGB", (40, 200)).save(photos / "small.png")
    whole = (photos / "a.png").read_bytes()
    (photos / "cut.png").write_bytes(whole[: len(whole) // 2])
    run = xai_command("forge", photos, "--out", "set", "--count", 8, "--size", 64, "--kinds", "noise")
    assert run.code == 4, run.stderr
    said = run.stderr
    assert "none.png: not an image" in said and "cut.png: broken image" in said
    assert "small.png: 40 × 200 pixels are too few for crops of 64 × 64" in said
    assert said.count("cut.png") == 1, "once for the photograph, not for each of its forgeries"
    assert "12 of 16 images; photographs that could not be used: 3" in said
    assert len(read_manifest(tmp_path / "set/manifest.csv")) == 12
    run = xai_command("forge", photos / "none.png", "nowhere", "--out", "other", "--json")
    assert run.code == 3 and len(json.loads(run.stdout)["failures"]) == 2
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--kinds", "nois"), "Unknown kind of forgery 'nois'"),
        (("--kinds", ","), "at least one"),
        (("--kinds", "splice"), "splice: the content comes from another photograph"),
        (("--count", "0"), "--count"),
        (("--size", "8"), "--size"),
    ],
)
def test_wrong_options_are_one_message(tmp_path, photos, xai_command, options, says):
    run = xai_command("forge", photos / "a.png", "--out", "set", "--size", 64, *options)
    assert run.code == 2 and says in run.stderr and "Traceback" not in run.stderr
    assert not (tmp_path / "set").exists()


def test_an_unwritable_folder_is_one_message(tmp_path, photos, xai_command):
    (tmp_path / "file").write_text("")
    run = xai_command("forge", photos, "--out", "file/set", "--size", 64)
    assert run.code == 3 and "Cannot write to file/set" in run.stderr


def test_the_benchmark_reads_what_is_written(tmp_path, xai_command, monkeypatch):
    """The shipped photographs and the shipped detector, from photographs to verdicts."""
    monkeypatch.setattr(saving, "save", partial(save, dpi=20))  # coarse
    run = xai_command("forge", "shipped", "--out", "set", "--count", 4, "--kinds", "upsampling,seam")
    assert run.code == 0, run.stderr
    assert "CC0-1.0" in (tmp_path / "set/ATTRIBUTION.md").read_text(encoding="utf-8")
    (tmp_path / "bench.yaml").write_text(
        yaml.safe_dump(
            {
                "name": "forged",
                "data": {"manifest": "set/manifest.csv"},
                "methods": ["raw_attention"],
                "controls": {"random_seeds": 1, "sobel": False, "raw_attention": False, "greedy_images": 0},
                "protocols": [{"base": "vit-token", "name": "token", "steps": 3}],
                "metrics": ["srg", "pointing_game"],
                "statistics": {"resamples": 99},
            }
        )
    )
    run = xai_command("benchmark", "run", "bench.yaml")
    assert run.code == 0, run.stderr
    assert xai_command("benchmark", "export", "attention_results/forged", "--out", "all.csv").code == 0
    with Path("all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    pointed = {row["image"] for row in rows if row["metric"] == "pointing_game"}
    assert {Path(name).stem.rsplit("-", 1)[1] for name in pointed} == {"upsampling", "seam"}
    assert len({row["image"] for row in rows if row["metric"] == "srg"}) == 8
    assert all(row["kind"] == Path(row["image"]).stem.rsplit("-", 1)[1] for row in rows)
    summary = Path("attention_results/forged/summary.md").read_text(encoding="utf-8")
    heads = [line for line in summary.splitlines() if line.startswith("| method | ") and "seam (" in line]
    assert heads == [
        "| method | pristine (n=4) | seam (n=2) | upsampling (n=2) |",
        "| method | seam (n=2) | upsampling (n=2) |",
    ]
