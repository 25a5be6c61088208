"""A folder in which what documents show can be run: every file that they name, small, and tiny detectors."""

import re
import shlex
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import tiny_models as tiny
import yaml
from clips import write_clip
from PIL import Image
from tiny_detector import classifier, photo, write_detector
from transformers import (
    SwinConfig,
    SwinForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)
from typer.testing import CliRunner
from windowed import randomised

import xai.faces
import xai.models.sources
from xai.bench import read_benchmark, read_survey, run_benchmark
from xai.cli.main import app
from xai.core import Face

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```(\w*) *([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LABELS = {"id2label": {0: "real", 1: "fake"}, "label2id": {"real": 0, "fake": 1}}
POINTS = np.array([[50, 60], [80, 60], [65, 78], [53, 95], [77, 95]], float)
FACES = [Face(POINTS + shift, (40 + shift, 40, 50, 70), 1.0) for shift in (0, 20, 40)]


def blocks(text: str) -> list[tuple[str, str, str]]:
    """Fenced blocks of a document in their order: language, title and content."""
    return FENCE.findall(text)


def documents() -> list[Path]:
    """The README and every page of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(block: str) -> list[str]:
    """Commands of a block of shell, without comments."""
    lines = block.replace("\\\n", " ").splitlines()
    parts = (part.strip() for line in lines for part in re.split(r"&&|;|\|", line.partition(" #")[0]))
    return [part for part in parts if part and not part.startswith("#")]


def run(command: str) -> tuple[int, str]:
    """Run a command `xai …` in this process: exit code and what it printed.

    What `init` writes is replaced by a configuration of the same kind that is done in a moment, and few
    forgeries are made where the document leaves their number open.
    """
    words = shlex.split(command)[1:]
    written = next((Path(word) for word in words if word.endswith(".yaml")), Path())
    if words[1:2] == ["init"]:
        written.unlink(missing_ok=True)
    words += ["--count", "4"] if words[0] == "forge" and "--count" not in words else []
    result = CliRunner().invoke(app, words)
    if words[1:2] == ["init"] and result.exit_code == 0:
        assert yaml.safe_load(written.read_text("utf-8"))
        content = SURVEY if words[0] == "survey" else BENCHMARK
        written.write_text(yaml.safe_dump(content | {"name": written.stem}))
    return result.exit_code, result.output


BENCHMARK = {
    "name": "my-benchmark",
    "data": {"manifest": "faces.csv"},
    "methods": ["chefer", "attention_rollout"],
    "controls": {"random_seeds": 1, "sobel": False, "raw_attention": False, "greedy_images": 0},
    "protocols": [{"base": "vit-token", "name": "vit-token-4", "steps": 4}],
    "metrics": ["srg", "deletion"],
    "statistics": {"resamples": 99},
}
METHOD = """
from dataclasses import replace

from xai.attr import Saliency, register


@register
class Mine(Saliency):
    info = replace(Saliency.info, name="mine", summary="Mine.")
"""
SURVEY = {"name": "my-survey", "data": {"manifest": "faces.csv"}, "methods": ["one_pass"]}


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, to be copied by whoever runs something in it."""
    folder = tmp_path_factory.mktemp("world")
    _pictures(folder)
    _models(folder)
    _configurations(folder)
    return folder


@pytest.fixture(scope="session")
def world_with_runs(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with finished runs in it."""
    folder = copytree(world, tmp_path_factory.mktemp("runs") / "world")
    _runs(folder)
    return folder


@pytest.fixture
def small_demo(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the shipped detector a tiny one; for the face finder one that knows the photographs."""
    monkeypatch.setattr(xai.models.sources, "_DEMO", world / "tiny.yaml")
    monkeypatch.setattr(xai.faces, "find", lambda images: [FACES for _ in images])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def _pictures(folder: Path) -> None:
    for name in ("face.png", "frame.png", "image.png", "mine.jpg"):
        photo(len(name), (400, 300) if name == "frame.png" else (40, 32)).save(folder / name)
    Image.linear_gradient("L").resize((160, 160)).convert("RGB").save(folder / "photo.jpg")
    for name in ("faces", "photos", "more", "portraits"):
        (folder / name).mkdir()
        for number in range(3):
            _smooth(number).save(folder / name / f"{name}{number}.jpg")
    rows = [
        f"faces/faces{number}.jpg,{label},{number}" for number, label in enumerate(("real", "fake", "fake"))
    ]
    for name in ("manifest.csv", "faces.csv", "ff.csv"):
        (folder / name).write_text("\n".join(["path,label,group", *rows]) + "\n")
    write_clip(folder / "clip.mp4", 4, size=(400, 300))
    (folder / "clips").mkdir()
    for place in ("clips/a.mp4", "more/b.mkv"):
        write_clip(folder / place, 3)


def _smooth(seed: int) -> Image.Image:
    """A photograph that is large enough to be forged."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(small).resize((320, 256), Image.Resampling.BICUBIC)


def _models(folder: Path) -> None:
    write_detector(folder)
    text = (folder / "tiny.yaml").read_text().replace("weights: tiny.pth\n", "")
    for name in ("clip.yaml", "c2p_clip.yaml", "detector.yaml"):
        (folder / name).write_text(text)
    for name in ("ckpt.pth", "clip.pth", "C2P_CLIP.pth"):
        (folder / name).write_bytes((folder / "tiny.pth").read_bytes())
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    vit = ViTConfig(image_size=32, patch_size=8, **size, **LABELS)
    tiny.randomize(ViTForImageClassification(vit)).save_pretrained(folder / "my-vit")
    swin = SwinConfig(
        image_size=32, patch_size=2, embed_dim=16, window_size=4, depths=[2, 2], num_heads=[2, 4], **LABELS
    )
    randomised(SwinForImageClassification(swin)).save_pretrained(folder / "my-swin")
    for name in ("my-vit", "my-swin"):
        ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder / name)


def _configurations(folder: Path) -> None:
    (folder / "mine.py").write_text(METHOD)
    (folder / "configs").mkdir()
    for name, content in {
        "mine.yaml": BENCHMARK | {"name": "mine"},
        "configs/demo.yaml": BENCHMARK | {"name": "demo", "data": {"images": "../faces"}},
        "configs/survey.yaml": SURVEY | {"name": "survey", "data": {"images": "../faces"}},
        "configs/deepfake_clip.yaml": BENCHMARK | {"name": "clip"},
    }.items():
        (folder / name).write_text(yaml.safe_dump(content))


def _runs(folder: Path) -> None:
    model = classifier(size=(32, 32))
    for content, names in (
        (BENCHMARK, ("my-benchmark", "one", "other")),
        (SURVEY, ("my-survey", "detector-a", "detector-b")),
    ):
        config = folder / "made.yaml"
        config.write_text(yaml.safe_dump(content))
        read = read_benchmark if content is BENCHMARK else read_survey
        run_benchmark(read(config), folder / "attention_results" / names[0], classifier=model)
        for name in names[1:]:
            copytree(folder / "attention_results" / names[0], folder / "attention_results" / name)
    (folder / "made.yaml").unlink()
