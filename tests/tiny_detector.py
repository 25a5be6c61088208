"""A tiny random detector with image preprocessing, in memory and on disk, and pictures to give it."""

from pathlib import Path

import numpy as np
import tiny_models as tiny
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import SwinConfig, SwinForImageClassification
from windowed import Logits, randomised

from xai.models import Classifier, Preprocessing


class Pooled(nn.Module):
    """CLIP tower and Linear, in the layout of a published detector."""

    def __init__(self, classes: int, layers: int):
        super().__init__()
        self.backbone = tiny.clip_tower(num_hidden_layers=layers)
        self.head = tiny.randomize(nn.Linear(self.backbone.config.hidden_size, classes), seed=1)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.backbone(pixels).pooler_output)


def classifier(labels=("real", "fake"), layers: int = 4, **preprocessing) -> Classifier:
    """32 × 32 pixels, 4 × 4 patches; by default the short edge is resized and the centre cropped."""
    steps = preprocessing or {"shortest_edge": 32, "crop": (32, 32)}
    return Classifier(
        Pooled(len(labels), layers).eval(), labels, name="tiny", preprocessing=Preprocessing(**steps)
    )


def hierarchical() -> Classifier:
    """A Swin of 32 × 32 pixels whose second stage has twice as many heads as its first."""
    sizes = {"image_size": 32, "patch_size": 2, "embed_dim": 16, "window_size": 4}
    config = SwinConfig(depths=[2, 2], num_heads=[2, 4], num_labels=2, **sizes)
    model = Logits(randomised(SwinForImageClassification(config)))
    preprocessing = Preprocessing(shortest_edge=32, crop=(32, 32))
    return Classifier(model.eval(), ("real", "fake"), name="swin", preprocessing=preprocessing)


def write_detector(folder: Path, layers: int = 4) -> Path:
    """The same on disk: `tiny.yaml`, which names `tiny.pth`."""
    torch.save(Pooled(2, layers).state_dict(), folder / "tiny.pth")
    path = folder / "tiny.yaml"
    path.write_text(
        "model_name: clip\nweights: tiny.pth\nresolution: 32\nresize: shortest_edge\ncrop: center\n"
    )
    return path


def photo(seed: int = 0, size: tuple[int, int] = (40, 32)) -> Image.Image:
    """Seeded noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)


def write_photos(folder: Path, count: int) -> list[Path]:
    """`0.png`, `1.png` …"""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        photo(number).save(path)
    return paths
