"""Train the shipped demo detector on local forgeries with known masks; measure it on held-out photographs.

    python benchmarks/train_demo_detector.py --photos / --out xai/models/demo --minutes 45 --seed 0
    python benchmarks/train_demo_detector.py --photos / --out xai/models/demo --evaluate-only

Needs torch, transformers, safetensors, pyyaml and the photographs of `demo_photos.py`. The attention map that
is measured here is computed from transformers' own eager attention, independently of the library.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing as mp
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.demo_photos import gather
from xai.data.forgery import forge

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]
Statistic = Callable[[NDArray[np.integer]], NDArray | np.floating | float]
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
WIDTH = 192
TRAINED = ("upsampling", "noise")
"""Kinds of forgery that the detector is trained on, in equal shares."""
MEASURED = ("upsampling", "resampling", "noise", "color")
"""Kinds that it is measured on: those there were when it was trained. None of them needs a donor."""
PATCH_HEAD = Path(__file__).with_name("demo_patch_head.safetensors")

# ---------------------------------------------------------------------------------------------------- samples


def random_crop(photo: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A square of a photograph, half of the time reduced, mirrored and with other brightness and contrast."""
    scale = rng.uniform(0.5, 1) if rng.random() < 0.5 else 1.0
    side = min(round(size / scale), *photo.shape[:2])
    top, left = (rng.integers(0, extent - side + 1) for extent in photo.shape[:2])
    crop = photo[top : top + side, left : left + side]
    if side > size:
        method = (Image.Resampling.LANCZOS, Image.Resampling.BICUBIC, Image.Resampling.BOX)[rng.integers(3)]
        crop = np.asarray(Image.fromarray(crop).resize((size, size), method))
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    if rng.random() < 0.5:
        tones = rng.uniform(0.8, 1.2) * (np.arange(256.0) - 128) + 128 + rng.uniform(-20, 20)
        crop = np.clip(tones, 0, 255).astype(np.uint8)[crop]
    return np.ascontiguousarray(crop)


def random_pair(photo: NDArray[np.uint8], size: int, kind: str, rng: np.random.Generator) -> Pair:
    """A pristine crop, its forged twin and the mask; some pairs get the same faint grain all over."""
    crop = random_crop(photo, size, rng)
    forgery = forge(crop, rng, kind)
    pair = [crop, forgery.image]
    if rng.random() < 0.25:
        reach = int(rng.integers(1, 4))
        grain = [rng.integers(-reach, reach + 1, crop.shape, dtype=np.int16) for _ in pair]
        pair = [np.clip(image + g, 0, 255).astype(np.uint8) for image, g in zip(pair, grain, strict=True)]
    return pair[0], pair[1], forgery.mask


def make_batches(photos: list[NDArray[np.uint8]], size: int, pairs: int, seed: int, out: mp.Queue) -> None:
    """Put batches of pairs into a queue, forever; batch number n depends only on the seed and n."""
    for step in range(sys.maxsize):
        rng = np.random.default_rng((seed, step))
        chosen = [photos[i] for i in rng.integers(len(photos), size=pairs)]
        kinds = rng.permutation([TRAINED[i % len(TRAINED)] for i in range(pairs)])
        made = [random_pair(photo, size, str(kind), rng) for photo, kind in zip(chosen, kinds, strict=True)]
        real, fake, mask = (np.stack(column) for column in zip(*made, strict=True))
        out.put((np.concatenate([real, fake]), np.concatenate([np.zeros_like(mask), mask])))


def to_input(images: NDArray[np.uint8]) -> Tensor:
    """Normalised network input (N, 3, H, W) of uint8 images (N, H, W, 3)."""
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return (tensor - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


# ------------------------------------------------------------------------------------------------------ model


class Detector(nn.Module):
    """CLIP vision tower, real/fake head and the auxiliary patch head, which is dropped after training."""

    def __init__(self, resolution: int, patch: int, layers: int) -> None:
        super().__init__()
        config = CLIPVisionConfig(
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=layers,
            num_attention_heads=WIDTH // 64,
            image_size=resolution,
            patch_size=patch,
            hidden_act="quick_gelu",
            layer_norm_eps=1e-5,
            attn_implementation="eager",
        )
        self.backbone = CLIPVisionModel(config)
        self.head = nn.Linear(WIDTH, 2)
        self.patch_head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 1))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Class logits (N, 2), patch logits (N, P) and every layer's attentions (N, heads, T, T)."""
        output = self.backbone(pixels, output_attentions=True, output_hidden_states=True)
        patches = self.patch_head(output.hidden_states[-2][:, 1:]).squeeze(-1)
        return self.head(output.pooler_output), patches, output.attentions


def dct_filters(patch: int, pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Patch embedding (WIDTH, 3, patch, patch) of whitened DCT coefficients of brightness and colour.

    All coefficients where there are as many as the width; otherwise those at multiples of a quarter of the
    sampling rate, where upsampling leaves its replicas, the lowest colours, and a random draw of the others.
    """
    n = np.arange(patch)
    basis = np.sqrt(2 / patch) * np.cos(np.pi * (n[None] + 0.5) * n[:, None] / patch)
    basis[0] /= np.sqrt(2)
    opponents = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
    filters = np.einsum("kc,uy,vx->kuvcyx", opponents, basis, basis)
    channel, u, v = np.indices((3, patch, patch)).reshape(3, -1)
    special = np.isin(u, (0, patch // 2, patch - 1)) & np.isin(v, (0, patch // 2, patch - 1))
    rank = np.where((channel == 0) & special | (channel > 0) & (u + v < 4), 0.0, 1 + rng.random(u.size))
    rank += np.where(channel > 0, 0.7 * (rank > 0), 0)  # fewer of the colours' coefficients
    chosen = np.argsort(rank, kind="stable")[:WIDTH]
    weight = torch.from_numpy(filters.reshape(-1, 3, patch, patch)[chosen]).float()
    deviation = F.conv2d(pixels, weight, stride=patch).std(dim=(0, 2, 3))
    return weight / deviation.clamp_min(1e-3).view(-1, 1, 1, 1)


def losses(
    detector: Detector, images: NDArray[np.uint8], mask: NDArray[np.bool_], attention_weight: float
) -> Tensor:
    """Class loss, patch loss and, weighted, the loss that draws the last CLS attention to the mask."""
    with torch.autocast("cpu", torch.bfloat16):
        logits, patches, attentions = detector(to_input(images))
    label = torch.from_numpy(mask.any(axis=(1, 2))).long()
    patch = detector.backbone.config.patch_size
    cover = F.avg_pool2d(torch.from_numpy(mask)[:, None].float(), patch).flatten(1)
    loss = F.cross_entropy(logits.float(), label)
    loss = loss + F.binary_cross_entropy_with_logits(patches.float(), cover, pos_weight=torch.tensor(3.0))
    if attention_weight:
        row = torch.stack(attentions[-2:]).float().mean(dim=(0, 2))[:, 0, 1:]
        inside = ((row * cover).sum(1) / row.sum(1))[label == 1]
        loss = loss - attention_weight * inside.clamp_min(1e-4).log().mean()
    return loss


def train(
    detector: Detector, photos: list[NDArray[np.uint8]], args: argparse.Namespace, save: Callable
) -> dict:
    """Train for the given time; the learning rate warms up and falls along a half cosine over that time."""
    context = mp.get_context("fork")
    queue = context.Queue(maxsize=8)
    job = (photos, args.resolution, args.pairs, args.seed, queue)
    worker = context.Process(target=make_batches, args=job, daemon=True)
    worker.start()
    images = np.concatenate([queue.get()[0] for _ in range(4)])
    embedding = detector.backbone.embeddings.patch_embedding
    embedding.weight.data = dct_filters(args.patch, to_input(images), np.random.default_rng(args.seed))
    decayed = {"params": [p for p in detector.parameters() if p.ndim >= 2], "weight_decay": 0.05}
    others = {"params": [p for p in detector.parameters() if p.ndim < 2], "weight_decay": 0.0}
    optimizer = torch.optim.AdamW([decayed, others], lr=args.lr, betas=(0.9, 0.98))
    start, step, recent, saved = time.monotonic(), 0, [], 0.0
    while (spent := time.monotonic() - start) < 60 * args.minutes:
        rate = (
            args.lr * min(1, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * spent / (60 * args.minutes)))
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = losses(detector, *queue.get(), args.attention_weight)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(detector.parameters(), 1.0)
        optimizer.step()
        step += 1
        recent.append(loss.item())
        if step % 50 == 0:
            print(f"step {step}  {spent:.0f} s  loss {np.mean(recent):.4f}  lr {rate:.2e}", flush=True)
            recent = []
        if spent - saved > 300:
            save(detector)
            saved = spent
    worker.terminate()
    return {
        "steps": step,
        "samples": step * 2 * args.pairs,
        "minutes": round((time.monotonic() - start) / 60, 1),
    }


# ------------------------------------------------------------------------------------------------- evaluation


def gradient_weighted_attention(detector: Detector, images: NDArray[np.uint8]) -> tuple[Tensor, ...]:
    """Score fake - real (N,), patch logits (N, P), then maps (N, P) of that score and of logit fake."""
    logits, patches, attentions = detector(to_input(images))
    score, maps = logits[:, 1] - logits[:, 0], []
    for target in (score, logits[:, 1]):
        gradients = torch.autograd.grad(target.sum(), attentions[-4:], retain_graph=True)
        rows = [(a * g).mean(dim=1)[:, 0, 1:] for a, g in zip(attentions[-4:], gradients, strict=True)]
        maps.append(torch.stack(rows).mean(dim=0).relu().detach())
    return score.detach(), patches.detach(), *maps


def auc(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> float:
    """Chance that a positive scores higher than a negative; ties count one half."""
    below = np.searchsorted(np.sort(negative), positive, "left")
    up_to = np.searchsorted(np.sort(negative), positive, "right")
    return float((below + up_to).mean() / 2 / len(negative))


def interval(statistic: Statistic, groups: NDArray[np.integer], seed: int) -> dict[str, float]:
    """Mean of a statistic of pairs and its 95 % percentile bootstrap, which draws whole photographs."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    chosen = rng.integers(len(members), size=(1000, len(members)))
    draws = [np.concatenate([members[i] for i in row]) for row in chosen]
    values = [np.nanmean(statistic(draw)) for draw in draws]
    low, high = np.nanquantile(values, (0.025, 0.975))
    value = np.nanmean(statistic(np.arange(len(groups))))
    return {"value": round(float(value), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def measure_pair(mask: NDArray[np.bool_], kind: str, group: int, scores: NDArray, *maps: NDArray) -> dict:
    """What one pair adds: scores (2,) of its pristine and forged crop, the forged one's maps (P,)."""
    head, gwa, logit = maps
    patch = len(mask) // math.isqrt(len(gwa))
    inside = mask[patch // 2 :: patch, patch // 2 :: patch].ravel()  # patches whose centre was forged
    some = inside.any() and not inside.all()
    return {
        "kind": kind,
        "group": group,
        "real": scores[0],
        "fake": scores[1],
        "gwa": bool(inside[gwa.argmax()] and gwa.max() > 0),
        "logit": bool(inside[logit.argmax()] and logit.max() > 0),
        "centre": mask[mask.shape[0] // 2, mask.shape[1] // 2],
        "chance": mask.mean(),
        "head": inside[head.argmax()],
        "gwa_auroc": auc(gwa[inside], gwa[~inside]) if some else np.nan,
        "head_auroc": auc(head[inside], head[~inside]) if some else np.nan,
    }


def evaluate(detector: Detector, photos: dict[str, NDArray], repeats: int, seed: int) -> dict[str, object]:
    """Measure detection and pointing on `repeats` pairs of each kind from each held-out photograph."""
    detector.eval()
    size = detector.backbone.config.image_size
    rows = []
    for group, photo in enumerate(photos.values()):
        for kind in MEASURED:
            rng = np.random.default_rng((seed, *kind.encode(), group))
            pairs = [random_pair(photo, size, kind, rng) for _ in range(repeats)]
            images = np.stack([image for pair in pairs for image in pair[:2]])
            scores, *maps = (t.numpy() for t in gradient_weighted_attention(detector, images))
            for n, pair in enumerate(pairs):
                both, fake = scores[2 * n : 2 * n + 2], [m[2 * n + 1] for m in maps]
                rows.append(measure_pair(pair[2], kind, group, both, *fake))
    table = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    result: dict[str, object] = {"photographs": len(photos), "pairs_per_kind": len(rows) // len(MEASURED)}
    result |= {"trained_kinds": list(TRAINED), "untrained_kinds": [k for k in MEASURED if k not in TRAINED]}
    for name, kinds in {"trained": TRAINED, **{k: (k,) for k in MEASURED}}.items():
        part = {key: values[np.isin(table["kind"], kinds)] for key, values in table.items()}
        result[name] = {key: interval(f, part["group"], seed) for key, f in measures(part).items()}
    return result


def measures(table: dict[str, NDArray]) -> dict[str, Statistic]:
    """What is reported, each a function of the indices of the pairs that it is taken over."""
    found = table["fake"] > 0
    gwa, centre = table["gwa"].astype(float), table["centre"].astype(float)
    return {
        "auc": lambda i: auc(table["fake"][i], table["real"][i]),
        "fake_found": lambda i: found[i].mean(),
        "real_passed": lambda i: (table["real"][i] <= 0).mean(),
        "pointing_gradient_weighted_attention": lambda i: gwa[i].mean(),
        "pointing_gradient_weighted_attention_fake_logit": lambda i: table["logit"][i].mean(),
        "pointing_centre": lambda i: centre[i].mean(),
        "pointing_gain_over_centre": lambda i: (gwa - centre)[i].mean(),
        "pointing_chance": lambda i: table["chance"][i].mean(),
        "pointing_patch_head": lambda i: table["head"][i].mean(),
        "pointing_gradient_weighted_attention_where_found": lambda i: np.where(found, gwa, np.nan)[i],
        "mask_auroc_gradient_weighted_attention": lambda i: table["gwa_auroc"][i],
        "mask_auroc_patch_head": lambda i: table["head_auroc"][i],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photos", type=Path, nargs="*", default=[Path("/")], help="roots of packages")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--patch-head", type=Path, default=PATCH_HEAD, help="auxiliary head")
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--evaluate-only", action="store_true", help="measure the detector that is in --out")
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--patch", type=int, default=16)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=16, help="real and fake pairs in a batch")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--attention-weight", type=float, default=0.0)
    parser.add_argument("--repeats", type=int, default=8, help="pairs per kind and held-out photograph")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    detector = Detector(args.resolution, args.patch, args.layers)
    weights, report = args.out / "detector.safetensors", args.out / "evaluation.json"

    def save(model: Detector) -> None:
        state = {k: v.contiguous() for k, v in model.state_dict().items()}
        save_file({k: v for k, v in state.items() if not k.startswith("patch_head")}, weights)
        save_file({k: v for k, v in state.items() if k.startswith("patch_head")}, args.patch_head)

    if args.evaluate_only:
        trained = json.loads(report.read_text()).get("training") if report.exists() else None
    else:
        settings = {"model_name": "clip", "resolution": args.resolution, "mean": list(MEAN), "std": list(STD)}
        settings |= {"labels": ["real", "fake"], "weights": weights.name}
        settings |= {"resize": "shortest_edge", "crop": "center"}
        (args.out / "detector.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
        trained = train(detector, list(gather(args.photos, False, args.resolution).values()), args, save)
        save(detector)
    detector.load_state_dict(load_file(weights) | load_file(args.patch_head))
    result = evaluate(detector, gather(args.photos, True, args.resolution), args.repeats, args.seed)
    result = {"training": trained} | result
    print(json.dumps(result, indent=1))
    report.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
