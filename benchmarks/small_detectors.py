"""Fit a small Swin and a small ResNet that tell local forgeries, from scratch, and measure them.

    python benchmarks/small_detectors.py --photos / --portraits DIR --out attention_results/without-attention

Both are Hugging Face models without global attention, made small (64 pixels, two stages that end at 8 × 8
positions), because no trained weights of such detectors come with a package. As the shipped detector they are
taught with an auxiliary head that says where the forgery lies, from the last feature map; it is dropped
afterwards. Sources: the photographs of `demo_photos.py` and the portraits of `train_clip_detector.py`. Those
held out are two halves, which `without_attention.py` explains: *choosing*, with the photographs that ship
with the package, and *confirmation*. A fit that was killed goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
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
from benchmarks.make_photos import SOURCES
from benchmarks.train_clip_detector import read_portraits
from benchmarks.train_demo_detector import auc, interval, random_crop
from xai.data import shipped_photos
from xai.data.forgery import forge
from xai.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD

SIDE = 64
KINDS = ("upsampling", "noise")
"""Kinds of forgery, as the shipped detector's."""
STRENGTH = 5.0
"""Of the traces that are measured: small models that are fitted in minutes find fainter ones too seldom."""
PLAIN = 10.0
"""Of the traces that a fit begins with; they fade to `STRENGTH` over its first half."""
HALVES = ("choosing", "confirmation")
LABELS = {"id2label": {0: "real", 1: "fake"}, "label2id": {"real": 0, "fake": 1}}
Model = Any  # one of `MODELS`; transformers' own types say nothing of what is in it
Photos = dict[str, NDArray[np.uint8]]
"""Pristine photographs and portraits, (H, W, 3), by name."""
Pairs = tuple[NDArray[np.uint8], NDArray[np.bool_]]
"""(N, 2, 64, 64, 3) pristine crops and their forged twins, (N, 64, 64) where they were forged."""


def make_swin() -> Model:
    """Swin with windows of 4 × 4 tokens, shifted in every second block; as wide as a patch has values."""
    sizes = {"image_size": SIDE, "patch_size": 4, "embed_dim": 48, "window_size": 4}
    config = SwinConfig(depths=[2, 2], num_heads=[3, 6], drop_path_rate=0.0, **sizes, **LABELS)
    return SwinForImageClassification(config)


def make_resnet() -> Model:
    """ResNet of basic blocks: 9 convolutions and their batch normalisations."""
    sizes = {"embedding_size": 32, "hidden_sizes": [32, 64], "depths": [2, 2]}
    return ResNetForImageClassification(ResNetConfig(layer_type="basic", **sizes, **LABELS))


MODELS = {"swin": (make_swin, 1e-3), "resnet": (make_resnet, 2e-3)}
"""Name → how it is made, and its learning rate."""


def read_sources(roots: list[Path], portraits: Path | None, part: str) -> Photos:
    """What models are fitted on (`training`), or one of the `HALVES` of what is held out."""
    if part == "training":
        return gather(roots, False, SIDE) | read_portraits(portraits, False)
    faces = list(read_portraits(portraits, True).items())
    if part == "choosing":
        shipped = {
            name: np.asarray(Image.open(path).convert("RGB")) for name, path in shipped_photos().items()
        }
        return shipped | dict(faces[::2])
    known = {source.photo for source in SOURCES}
    others = {name: photo for name, photo in gather(roots, True, SIDE).items() if name not in known}
    return others | dict(faces[1::2])


def make_pairs(
    photos: Photos,
    count: int,
    seed: tuple[int, ...],
    strength: float = STRENGTH,
    kinds: Sequence[str] = KINDS,
) -> Pairs:
    """Crops of photographs, which take turns in a random order, and their forged twins, of kinds in turns."""
    images, masks = np.empty((count, 2, SIDE, SIDE, 3), np.uint8), np.empty((count, SIDE, SIDE), bool)
    order = np.random.default_rng(seed).permutation(len(photos))
    sources = list(photos.values())
    for i in range(count):
        turn, place = divmod(i, len(photos))
        rng = np.random.default_rng((*seed, i))
        crop = random_crop(sources[order[place]], SIDE, rng)
        forgery = forge(crop, rng, kinds[(turn + place) % len(kinds)], strength=strength)
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


def begin_from_traces(model: Model, pixels: Tensor) -> None:
    """Swin's patch embedding as the principal components of pristine patches, each at unit variance.

    Photographs are smooth, traces are not: at unit variance a trace is large, and from random filters a small
    transformer takes long to see it. A random bias keeps how large it is, which the normalisation that
    follows would take away.
    """
    embedding, patch = model.swin.embeddings.patch_embeddings.projection, model.config.patch_size
    patches = F.unfold(pixels, patch, stride=patch).transpose(1, 2).flatten(0, 1)
    variance, components = torch.linalg.eigh(torch.cov(patches.T))
    embedding.weight.data = (components / variance.clamp_min(1e-4).sqrt()).T.reshape_as(embedding.weight)
    embedding.bias.data.normal_()


def train(
    name: str,
    photos: Photos,
    options: argparse.Namespace,
    kinds: Sequence[str] = KINDS,
    strength: float = STRENGTH,
) -> tuple[Model, float]:
    """A model fitted with AdamW, its learning rate warmed up and then falling; and the minutes it took.

    Every step is of new pairs, and both of a pair are in it, so that only the traces tell them apart.
    """
    torch.manual_seed(options.seed)
    make, rate = MODELS[name]
    model = make().train()
    width = model.config.hidden_sizes[-1] if name == "resnet" else model.config.hidden_size
    where = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))
    if name == "swin":
        begin_from_traces(model, to_input(make_pairs(photos, 400, (options.seed, 1))[0][:, 0]))
    parameters = [*model.parameters(), *where.parameters()]
    groups = [
        {"params": [one for one in parameters if one.dim() > 1], "weight_decay": 0.05},
        {"params": [one for one in parameters if one.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))
    checkpoint, first, before, recent = options.out / f"{name}.pt", 0, 0.0, []
    fit = {key: getattr(options, key) for key in ("steps", "batch", "seed")}
    if checkpoint.is_file():
        kept = torch.load(checkpoint, weights_only=True)
        if kept["fit"] != fit:
            sys.exit(f"{checkpoint} is of the fit {kept['fit']}, not {fit}: remove it.")
        for one, state in zip((model, where, optimizer), kept["states"], strict=True):
            one.load_state_dict(state)
        first, before = kept["step"], kept["seconds"]
    start = time.monotonic() - before
    for step in range(first, options.steps):
        done = step / options.steps
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * done))
        faded = PLAIN + (strength - PLAIN) * min(1, 2 * done)
        images, masks = make_pairs(photos, options.batch, (options.seed, 2, step), faded, kinds)
        pixels = to_input(np.concatenate([images[:, 0], images[:, 1]]))
        cover = F.avg_pool2d(torch.from_numpy(masks)[:, None].float(), SIDE // 8)
        cover = torch.cat([torch.zeros_like(cover), cover])
        turns = step % 4
        pixels, cover = (torch.rot90(one, turns, (2, 3)) for one in (pixels, cover))
        logits, positions = forward(model, where, pixels)
        loss = F.cross_entropy(logits, torch.arange(2).repeat_interleave(options.batch))
        loss = loss + F.binary_cross_entropy_with_logits(positions, cover.flatten(1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        recent.append(float(loss.detach()))
        if (step + 1) % 100 == 0:
            spent = time.monotonic() - start
            print(f"{name}: step {step + 1}, {spent:.0f} s, loss {np.mean(recent):.3f}", flush=True)
            states, recent = [one.state_dict() for one in (model, where, optimizer)], []
            torch.save({"fit": fit, "states": states, "step": step + 1, "seconds": spent}, checkpoint)
    return model.eval(), (time.monotonic() - start) / 60


@torch.no_grad()
def evaluate(
    model: Model,
    photos: Photos,
    each: int,
    seed: int,
    strength: float = STRENGTH,
    kinds: Sequence[str] = KINDS,
) -> dict[str, Any]:
    """What a model answers to `each` pairs of every held-out source; 95 % bootstrap over sources."""
    images = make_pairs(photos, each * len(photos), (seed, 0), strength, kinds)[0]
    parts = np.array_split(images.reshape(-1, SIDE, SIDE, 3), 20)
    logits = torch.cat([model(to_input(part)).logits for part in parts])
    real, fake = (logits[:, 1] - logits[:, 0]).view(-1, 2).T.numpy()
    groups = np.arange(len(real)) % len(photos)

    def accuracy(i: NDArray[np.integer]) -> float:
        return float(((fake[i] > 0).mean() + (real[i] <= 0).mean()) / 2)

    return {
        "accuracy": interval(accuracy, groups, seed),
        "auc": interval(lambda i: auc(fake[i], real[i]), groups, seed),
        "fake_found": round(float((fake > 0).mean()), 4),
        "real_passed": round(float((real <= 0).mean()), 4),
        "pairs": len(real),
        "sources": len(photos),
    }


def save(model: Model, out: Path) -> None:
    """Write a folder that `xai` loads as a user's."""
    model.save_pretrained(out)
    size = {"height": SIDE, "width": SIDE}
    ViTImageProcessor(size=size, image_mean=IMAGENET_MEAN, image_std=IMAGENET_STD).save_pretrained(out)


def parse(description: str | None) -> argparse.ArgumentParser:
    """The options that tell where sources and models are."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, nargs="*", default=[Path("/")], help="roots of packages")
    parser.add_argument("--portraits", type=Path, help="folder of portraits; see train_clip_detector.py")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--out", type=Path, default=Path("attention_results/without-attention"))
    return parser


def main() -> None:
    parser = parse(__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=16, help="pairs in a step")
    parser.add_argument("--each", type=int, default=10, help="held-out pairs of each source")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    photos = read_sources(options.photos, options.portraits, "training")
    halves = {half: read_sources(options.photos, options.portraits, half) for half in HALVES}
    for name in options.models:
        model, minutes = train(name, photos, options)
        result = {half: evaluate(model, found, options.each, options.seed) for half, found in halves.items()}
        result["training"] = {
            "sources": len(photos),
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
