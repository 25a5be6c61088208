"""Tune a tower's normalisations, biases and layer scales on forged pairs, where a head does not suffice.

The recipe of LN-tuned detectors (arXiv 2508.06248 tunes the layer norms of CLIP): few parameters move,
attention and MLP matrices stay as they were pretrained.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.frozen_head import Photo, Tower, forged_crops
from xai.data.forgery import KINDS

RATE = 3e-3  # of AdamW
WARM_UP = 15  # steps


def small_parameters(tower: nn.Module) -> list[nn.Parameter]:
    """Those that are tuned, with the rest frozen; the patch embedding stays as it is."""
    for name, parameter in tower.named_parameters():
        small = "norm" in name or "layer_scale" in name or name.endswith("bias")
        parameter.requires_grad_(small and "embeddings" not in name)
    return [parameter for parameter in tower.parameters() if parameter.requires_grad]


def tune_norms(
    tower: Tower,
    photos: dict[str, Photo],
    faces: dict[str, Photo],
    kinds: Sequence[str],
    steps: int,
    seed: int,
    strength: float,
) -> None:
    """Tune the tower in place; every step sees one new pair of each kind.

    The loss asks that forged crops get a higher score than pristine ones, and than their own twins.
    Forwards run in bfloat16; the linear head of the loss is thrown away.
    """
    torch.manual_seed(seed)
    usual = tower.tower.config._attn_implementation
    # on a CPU the backward pass of fused attention takes longer than all the rest
    tower.tower.set_attn_implementation("eager")
    small = small_parameters(tower.tower)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (tower.mean, tower.std))
    head = nn.Linear(tower.width, 1)
    nn.init.zeros_(head.weight)
    groups = [{"params": small}, {"params": head.parameters()}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, weight_decay=0.0, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda i: min(1, (i + 1) / WARM_UP) * (1 + math.cos(math.pi * i / steps)) / 2
    )
    known = [kind for kind in kinds if faces or not KINDS[kind].portrait]
    of_kind = [forged_crops(photos, faces, (kind,), steps, seed, strength) for kind in known]
    for step, crops in enumerate(zip(*of_kind, strict=True)):
        images = np.stack([image for one in crops for image in (one.pristine, one.forgery.image)])
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        with torch.autocast("cpu", torch.bfloat16):
            embedding = tower.embed((pixels - mean) / std)
        scores = head(embedding.float())[:, 0]
        loss = pair_loss(scores)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(small, 1.0)
        optimizer.step()
        schedule.step()
        print(f"\r{step + 1} of {steps} steps, loss {loss.item():.3f}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    tower.tower.requires_grad_(False)
    tower.tower.set_attn_implementation(usual)


def pair_loss(scores: Tensor) -> Tensor:
    """Of (2N,) scores, pristine and forged in turns: cross-entropy, and the logistic loss of each pair."""
    labels = torch.tensor([0.0, 1.0]).repeat(len(scores) // 2)
    apart = scores[1::2] - scores[::2]
    return F.binary_cross_entropy_with_logits(scores, labels) + F.softplus(-apart).mean()
