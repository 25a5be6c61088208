"""A linear head on a frozen vision tower: embeddings of pairs, logistic regression, detectors that load."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from transformers import AutoConfig, CLIPVisionModelWithProjection, Dinov2ForImageClassification, Dinov2Model

import xai
from benchmarks.train_demo_detector import auc, interval, random_crop
from xai.data.forgery import KINDS, Forgery, forge
from xai.models.preprocessing import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD

Photo = NDArray[np.uint8]
Pair = tuple[str, str, Photo, Photo]
"""Kind of forgery, source, pristine crop and forged twin, each (224, 224, 3)."""
Head = tuple[NDArray[np.float64], float]
"""Weights (D,) and bias: embedding → log-odds of fake."""
SIDE = 224


@dataclass(frozen=True)
class Table:
    """Embeddings of pairs: row 2i is the pristine crop, row 2i + 1 its forged twin.

    Args:
        features: (2N, D).
        kind: (N,) kind of the forgery.
        source: (N,) photograph.
    """

    features: NDArray[np.float32]
    kind: NDArray[np.str_]
    source: NDArray[np.str_]

    def only(self, keep: NDArray[np.bool_]) -> Table:
        """Some of the pairs."""
        return Table(self.features[np.repeat(keep, 2)], self.kind[keep], self.source[keep])


# --------------------------------------------------------------------------------------------------- images


@dataclass(frozen=True, eq=False)
class ForgedCrop:
    """A crop and its forgery.

    Args:
        source: Photograph that was cropped.
        donor: Photograph that a forgery may have taken from.
        pristine: (224, 224, 3).
        forgery: Its forged twin, with mask and kind.
    """

    source: str
    donor: str
    pristine: Photo
    forgery: Forgery


def forged_crops(
    photos: dict[str, Photo],
    faces: dict[str, Photo],
    kinds: Sequence[str],
    count: int,
    seed: int,
    strength: float = 1.0,
) -> Iterator[ForgedCrop]:
    """`count` crops of each kind, forged; sources take turns."""
    for kind in kinds:
        portrait = KINDS[kind].portrait
        pool = faces if portrait else photos | faces
        names = sorted(pool)
        order = np.random.default_rng((seed, *kind.encode())).permutation(len(names))
        for i in range(count if pool else 0):
            rng = np.random.default_rng((seed, *kind.encode(), i))
            host, other = (names[order[(i + shift) % len(names)]] for shift in (0, 1 + i // len(names)))
            crop, donor = (
                whole(pool[name]) if portrait else random_crop(pool[name], SIDE, rng)
                for name in (host, other)
            )
            yield ForgedCrop(host, other, crop, forge(crop, rng, kind, donor=donor, strength=strength))


def whole(photo: Photo) -> Photo:
    """A square portrait at the size of a crop."""
    return np.asarray(Image.fromarray(photo).resize((SIDE, SIDE), Image.Resampling.LANCZOS))


# ---------------------------------------------------------------------------------------------------- towers


class Clip:
    """CLIP's image tower; the embedding is what DeepfakeBench's `clip` reads: the pooled class token."""

    mean, std = CLIP_MEAN, CLIP_STD

    def __init__(self, folder: Path):
        self.tower = CLIPVisionModelWithProjection.from_pretrained(folder).eval()
        self.width = self.tower.config.hidden_size

    def embed(self, pixels: Tensor) -> Tensor:
        """(B, 3, 224, 224) → (B, 768)."""
        return self.tower.vision_model(pixels).pooler_output

    def save(self, weight: Tensor, bias: Tensor, out: Path) -> str:
        """Write the detector; returns what to load."""
        state = {f"backbone.{k}": v for k, v in self.tower.vision_model.state_dict().items()}
        torch.save(state | {"head.weight": weight, "head.bias": bias}, out / "detector.pth")
        said = {"model_name": "clip", "resolution": SIDE, "mean": list(self.mean), "std": list(self.std)}
        said |= {"labels": ["real", "fake"], "weights": "detector.pth"}
        (out / "detector.yaml").write_text(yaml.safe_dump(said, sort_keys=False))
        return str(out / "detector.yaml")


class Dinov2:
    """DINOv2; the embedding is `Dinov2ForImageClassification`'s: class token and mean of the patches.

    With `patches=False` the class token alone, so that patches can be removed by masking their keys.
    """

    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def __init__(self, folder: Path, patches: bool = True):
        self.folder, self.tower = folder, Dinov2Model.from_pretrained(folder).eval()
        self.patches = patches
        self.width = self.tower.config.hidden_size * (1 + patches)

    def embed(self, pixels: Tensor) -> Tensor:
        """(B, 3, 224, 224) → (B, 768), or (B, 384) without the patches."""
        tokens = self.tower(pixels).last_hidden_state
        if not self.patches:
            return tokens[:, 0]
        return torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1)

    def save(self, weight: Tensor, bias: Tensor, out: Path) -> str:
        """Write the detector; returns what to load."""
        config = self.tower.config
        config.id2label, config.label2id = {0: "real", 1: "fake"}, {"real": 0, "fake": 1}
        model = Dinov2ForImageClassification(config).eval()
        model.dinov2.load_state_dict(self.tower.state_dict())
        weight = F.pad(weight, (0, model.classifier.in_features - weight.shape[1]))  # patches unread: 0
        model.classifier.load_state_dict({"weight": weight, "bias": bias})
        model.save_pretrained(out)
        name = "preprocessor_config.json"
        said = json.loads((self.folder / name).read_text())
        # the tower's own resizes to 256 and cuts the rim off: another enlargement than the head was fitted at
        said |= {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
        (out / name).write_text(json.dumps(said, indent=2) + "\n")
        return f"local:{out}"


Tower = Clip | Dinov2
_TOWERS = {"clip_vision_model": Clip, "clip": Clip, "dinov2": Dinov2}


def read_tower(folder: Path, patches: bool = True) -> Tower:
    """The tower in a folder that `xai models fetch` or the Hugging Face hub gave; `patches`: see `Dinov2`."""
    kind = AutoConfig.from_pretrained(folder).model_type
    if kind not in _TOWERS:
        sys.exit(f"{folder} holds a {kind}; give the folder of one of {', '.join(_TOWERS)}.")
    return Dinov2(folder, patches) if kind == "dinov2" else _TOWERS[kind](folder)


@torch.no_grad()
def embed_pairs(tower: Tower, pairs: Iterable[Pair], batch: int) -> Table:
    """Embed pairs, a few at a time."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (tower.mean, tower.std))
    kinds, sources, features, waiting = [], [], [], []

    def flush() -> None:
        if waiting:
            pixels = torch.from_numpy(np.stack(waiting)).permute(0, 3, 1, 2).float() / 255
            features.append(tower.embed((pixels - mean) / std).numpy())
            waiting.clear()
            print(f"\r{2 * len(kinds)} images embedded", end="", file=sys.stderr, flush=True)

    for kind, source, pristine, forged in pairs:
        kinds.append(kind)
        sources.append(source)
        waiting += [pristine, forged]
        if len(waiting) >= batch:
            flush()
    flush()
    print(file=sys.stderr)
    return Table(np.concatenate(features), np.array(kinds), np.array(sources))


# ------------------------------------------------------------------------------------------------------ head


def labels(table: Table) -> NDArray[np.int64]:
    """0, 1, 0, 1, …: pristine, forged."""
    return np.tile([0, 1], len(table.kind))


def choose_penalty(table: Table, scaler: StandardScaler, scoring: str = "roc_auc") -> float:
    """C of the logistic regression with the best score, as scikit-learn names it, on left-out sources."""
    folds = GroupKFold(5).split(table.features, groups=np.repeat(table.source, 2))
    model = LogisticRegressionCV(
        Cs=np.logspace(-5, 0, 11),
        cv=list(folds),
        l1_ratios=(0.0,),
        scoring=scoring,
        max_iter=2000,
        use_legacy_attributes=False,
    )
    return float(model.fit(scaler.transform(table.features), labels(table)).C_)


def fit(table: Table, scaler: StandardScaler, penalty: float) -> Head:
    """Weights (D,) and bias on the raw embedding of the log-odds of fake."""
    model = LogisticRegression(C=penalty, max_iter=5000).fit(scaler.transform(table.features), labels(table))
    weight = model.coef_[0] / scaler.scale_
    return weight, float(model.intercept_[0] - weight @ scaler.mean_)


def measure(table: Table, head: Head, seed: int) -> dict[str, float]:
    """AUC of forged against pristine, its interval over sources, and the pairs that it rests on."""
    scores = (table.features @ head[0] + head[1]).reshape(-1, 2)
    _, groups = np.unique(table.source, return_inverse=True)
    found = interval(lambda i: auc(scores[i, 1], scores[i, 0]), groups, seed)
    return found | {"pairs": len(table.kind), "sources": int(groups.max()) + 1}


@torch.no_grad()
def write_detector(tower: Tower, head: Head, out: Path) -> str:
    """Write tower and head; returns what to load, which is checked to answer as what was fitted."""
    pixels = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    embedding = tower.embed(pixels).double()
    weight, bias = (torch.as_tensor(part) for part in head)
    out.mkdir(parents=True, exist_ok=True)
    # two logits for a softmax: their difference is the log-odds
    spec = tower.save(torch.stack([-weight, weight]).float() / 2, torch.stack([-bias, bias]).float() / 2, out)
    logits = xai.load(spec)(pixels)
    expected = embedding @ weight + bias
    error = float((logits[:, 1] - logits[:, 0] - expected).abs().max())
    if error > 1e-3 * float(expected.abs().max() + 1):
        sys.exit(f"{spec} answers otherwise than what was fitted, by {error:.2g}.")
    return spec
