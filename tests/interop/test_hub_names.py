"""Models by their names on the hub, out of the cache that the hub's client keeps: nothing is fetched."""

import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree

import pytest
import torch
from architectures import ARCHITECTURES
from architectures.architecture import LABELS

import xai

pytestmark = pytest.mark.interop

WHERE = "runs in an environment of its own: make test-interop"
pytest.importorskip("timm", reason=WHERE)
pytest.importorskip("open_clip", reason=WHERE)

NAMES = {
    "timm/naflexvit": "timm:hf-hub:me/naflex",
    "timm/swin": "timm:hf-hub:me/swin",
    "open_clip/ViT-B-16": "open_clip:hf-hub:me/clip",
    "open_clip/coca_ViT-B-32": "open_clip:hf-hub:me/coca",
    "huggingface/timm_wrapper": "hf:me/wrapper",
    "huggingface/siglip2": "hf:me/naflex-siglip",
}
ASKED = """
import sys, torch, xai
for line in sys.stdin.read().splitlines():
    spec, labels, pixels, answer = line.split("|")
    model = xai.load(spec, labels=labels.split(",") if labels else None)
    with torch.no_grad():
        torch.save((model.labels, model(torch.load(pixels))), answer)
"""


def test_hub_names_answer_as_the_folders_do(tmp_path: Path) -> None:
    lines, expected = [], {}
    for name, spec in NAMES.items():
        one = ARCHITECTURES[name]
        folder = tmp_path / name.replace("/", "-")
        folder.mkdir()
        classifier = one.load(folder)
        repository = spec.removeprefix("hf:").rpartition(":")[2]
        kept = tmp_path / "home/hub" / f"models--{repository.replace('/', '--')}"
        copytree(folder, kept / "snapshots" / ("0" * 40))
        (kept / "refs").mkdir()
        (kept / "refs/main").write_text("0" * 40)
        pixels, answer = folder / "pixels.pt", folder / "answer.pt"
        torch.save(one.pixels(), pixels)
        labels = "" if one.library == "huggingface" else ",".join(LABELS)
        lines.append(f"{spec}|{labels}|{pixels}|{answer}")
        with torch.no_grad():
            expected[answer] = classifier(one.pixels())
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    subprocess.run(
        [sys.executable, "-c", ASKED], input="\n".join(lines), text=True, check=True, env=environment
    )
    for answer, logits in expected.items():
        labels, got = torch.load(answer)
        assert labels == LABELS
        torch.testing.assert_close(got, logits, rtol=0, atol=0)


def test_classes_that_timm_names_need_no_labels(tmp_path: Path) -> None:
    from timm.models import save_for_hf

    model = ARCHITECTURES["timm/vit"].build()
    words = {"label_names": ["n1", "n2", "n3"], "label_descriptions": {"n1": "tench", "n3": "goldfish"}}
    save_for_hf(model, str(tmp_path), model_config=words)
    classifier = xai.load(f"timm:local-dir:{tmp_path}")
    assert classifier.labels == ("tench (n1)", "n2", "goldfish (n3)")
