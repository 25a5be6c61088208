"""Fit a small Swin and a small ResNet that tell local forgeries, from scratch, and measure them.

    python benchmarks/small_detectors.py --photos / --out attention_results/without-attention

Both are Hugging Face models without global attention, made small (64 pixels, two stages that end at 8 × 8
positions), because no trained weights of such detectors come with a package. As the shipped detector they are
taught with an auxiliary head that says where the forgery lies, from the last feature map; it is dropped
afterwards. Photographs: the training part of `demo_photos.py`. Held out: the photographs that ship with the
package, which are what `without_attention.py` explains.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from transformers import (
    ResNetConfig,
    ResNetForImageClassification,
    SwinConfig,
    SwinForImageClassification,
    ViTImageProcessor,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.demo_photos import gather
from benchmarks.train_demo_detector import auc, interval, random_crop
from xai.data import shipped_photos
from xai.data.forgery import forge
from xai.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD

SIDE = 64
KINDS = ("upsampling", "noise")
"""Kinds of forgery, as the shipped detector's."""
STRENGTH = 5.0
"""Of the traces: small models that are fitted in minutes find fainter ones too seldom."""
LABELS = {"id2label": {0: "real", 1: "fake"}, "label2id": {"real": 0, "fake": 1}}
Model = Any  # one of `MODELS`; transformers' own types say nothing of what is in it
Pairs = tuple[NDArray[np.uint8], NDArray[np.bool_]]
"""(N, 2, 64, 64, 3) pristine crops and their forged twins, (N, 64, 64) where they were forged."""


def make_swin() -> Model:
    """Swin with windows of 4 × 4 tokens, shifted in every second block."""
    sizes = {"image_size": SIDE, "patch_size": 4, "embed_dim": 32, "window_size": 4}
    config = SwinConfig(depths=[2, 2], num_heads=[2, 4], drop_path_rate=0.0, **sizes, **LABELS)
    return SwinForImageClassification(config)


def make_resnet() -> Model:
    """ResNet of basic blocks: 9 convolutions and their batch normalisations."""
    sizes = {"embedding_size": 32, "hidden_sizes": [32, 64], "depths": [2, 2]}
    return ResNetForImageClassification(ResNetConfig(layer_type="basic", **sizes, **LABELS))


MODELS = {"swin": (make_swin, 1e-3), "resnet": (make_resnet, 2e-3)}
"""Name → how it is made, and its learning rate."""


def make_pairs(photos: list[NDArray[np.uint8]], count: int, seed: int) -> Pairs:
    """Crops of photographs and their forged twins; the kinds take turns."""
    images, masks = np.empty((count, 2, SIDE, SIDE, 3), np.uint8), np.empty((count, SIDE, SIDE), bool)
    for i in range(count):
        rng = np.random.default_rng((seed, i))
        crop = random_crop(photos[i % len(photos)], SIDE, rng)
        forgery = forge(crop, rng, KINDS[(i // len(photos)) % len(KINDS)], strength=STRENGTH)
        images[i], masks[i] = (crop, forgery.image), forgery.mask
    return images, masks


def to_input(images: NDArray[np.uint8]) -> Tensor:
    """(N, 64, 64, 3) as the models see it, (N, 3, 64, 64)."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - mean) / std


def forward(model: Model, where: nn.Module, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Class logits (N, 2), and the auxiliary head's logits (N, 64) at the positions of the last map."""
    output = model(pixels, output_hidden_states=True)
    last = output.hidden_states[-1]
    tokens = last.flatten(2).transpose(1, 2) if last.dim() == 4 else last  # a convolution's, or Swin's
    return output.logits, where(tokens).squeeze(-1)


def whitened_filters(pixels: Tensor, patch: int, width: int) -> Tensor:
    """Patch embedding (width, 3, patch, patch): the least principal components of patches, at unit variance.

    Photographs are smooth, traces are not; from random filters a small transformer takes long to see them.
    """
    patches = F.unfold(pixels, patch, stride=patch).transpose(1, 2).flatten(0, 1)
    variance, components = torch.linalg.eigh(torch.cov(patches.T))
    chosen = components[:, :width] / variance[:width].clamp_min(1e-4).sqrt()
    return chosen.T.reshape(width, 3, patch, patch)


def train(name: str, pairs: Pairs, steps: int, batch: int, seed: int) -> tuple[Model, float]:
    """A model fitted with AdamW, its learning rate warmed up and then falling; and the minutes it took."""
    torch.manual_seed(seed)
    (make, rate), rng, start = MODELS[name], np.random.default_rng(seed), time.monotonic()
    model = make().train()
    if name == "swin":
        embedding = model.swin.embeddings.patch_embeddings.projection
        pristine, width = to_input(pairs[0][:200, 0]), model.config.embed_dim
        embedding.weight.data = whitened_filters(pristine, model.config.patch_size, width)
    width = model.config.hidden_sizes[-1] if name == "resnet" else model.config.hidden_size
    where = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))
    parameters = [*model.parameters(), *where.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.05, betas=(0.9, 0.98))
    recent = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))
        chosen = rng.integers(len(pairs[0]), size=batch)
        pixels = to_input(np.concatenate([pairs[0][chosen, 0], pairs[0][chosen, 1]]))
        cover = F.avg_pool2d(torch.from_numpy(pairs[1][chosen])[:, None].float(), SIDE // 8)
        cover = torch.cat([torch.zeros_like(cover), cover])
        turns, mirror = int(rng.integers(4)), [3] if rng.random() < 0.5 else []
        pixels, cover = (torch.rot90(one, turns, (2, 3)).flip(mirror) for one in (pixels, cover))
        logits, positions = forward(model, where, pixels)
        loss = F.cross_entropy(logits, torch.arange(2).repeat_interleave(batch))
        loss = loss + F.binary_cross_entropy_with_logits(positions, cover.flatten(1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        recent.append(float(loss.detach()))
        if (step + 1) % 50 == 0:
            spent = time.monotonic() - start
            print(f"{name}: step {step + 1}, {spent:.0f} s, loss {np.mean(recent):.3f}", flush=True)
            recent = []
    return model.eval(), (time.monotonic() - start) / 60


@torch.no_grad()
def evaluate(model: Model, pairs: Pairs, photos: int, seed: int) -> dict[str, object]:
    """What a model answers to pairs of held-out photographs, which take turns; 95 % bootstrap over these."""
    logits = torch.cat(
        [model(to_input(part)).logits for part in np.array_split(pairs[0].reshape(-1, SIDE, SIDE, 3), 20)]
    )
    real, fake = (logits[:, 1] - logits[:, 0]).view(-1, 2).T.numpy()
    groups = np.arange(len(real)) % photos

    def accuracy(i: NDArray[np.integer]) -> float:
        return float(((fake[i] > 0).mean() + (real[i] <= 0).mean()) / 2)

    return {
        "accuracy": interval(accuracy, groups, seed),
        "auc": interval(lambda i: auc(fake[i], real[i]), groups, seed),
        "fake_found": round(float((fake > 0).mean()), 4),
        "real_passed": round(float((real <= 0).mean()), 4),
        "pairs": len(real),
        "photographs": photos,
    }


def save(model: Model, out: Path) -> None:
    """Write a folder that `xai` loads as a user's."""
    model.save_pretrained(out)
    size = {"height": SIDE, "width": SIDE}
    ViTImageProcessor(size=size, image_mean=IMAGENET_MEAN, image_std=IMAGENET_STD).save_pretrained(out)


def read_photos(roots: list[Path], held_out: bool) -> list[NDArray[np.uint8]]:
    """The photographs that models are fitted on, or those that ship with the package."""
    if not held_out:
        return list(gather(roots, False, SIDE).values())
    return [np.asarray(Image.open(path).convert("RGB")) for path in shipped_photos().values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photos", type=Path, nargs="*", default=[Path("/")], help="roots of packages")
    parser.add_argument("--out", type=Path, default=Path("attention_results/without-attention"))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--pairs", type=int, default=4000, help="forgeries to fit on")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch", type=int, default=16, help="pairs in a step")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    photos, held = (read_photos(options.photos, part) for part in (False, True))
    start = time.monotonic()
    pairs = make_pairs(photos, options.pairs, options.seed)
    held_pairs = make_pairs(held, 20 * len(held), options.seed + 1)
    print(f"{len(photos)} photographs, {options.pairs} pairs, {time.monotonic() - start:.0f} s", flush=True)
    for name in options.models:
        model, minutes = train(name, pairs, options.steps, options.batch, options.seed)
        result = evaluate(model, held_pairs, len(held), options.seed)
        result["training"] = {
            "photographs": len(photos),
            "pairs": options.pairs,
            "steps": options.steps,
            "batch": options.batch,
            "minutes": round(minutes, 1),
            "parameters": sum(one.numel() for one in model.parameters()),
        }
        save(model, options.out / name)
        (options.out / name / "evaluation.json").write_text(json.dumps(result, indent=1) + "\n")
        print(name, json.dumps(result, indent=1), flush=True)


if __name__ == "__main__":
    main()
