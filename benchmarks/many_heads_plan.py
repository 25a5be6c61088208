"""What `many_heads.py` measures: heads, rows, how much of each run, and in which order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xai.data.forgery import KINDS

SMALL = "resnet"
TOWERS = (SMALL, "dinov2-small", "clip-vit-b16")
TUNED_NORMS = ("dinov2-small",)
"""Towers whose normalisations are tuned with each head: frozen, their class token sees too little."""


@dataclass(frozen=True)
class Head:
    """What a head is fitted for; its forgeries are measured as it knows them.

    Args:
        kinds: Of forgery.
        strength: Of their traces.
    """

    kinds: tuple[str, ...]
    strength: float


HEADS = {
    "mixed": Head(tuple(name for name, kind in KINDS.items() if kind.label == "fake"), 8.0),
    "traces": Head(("upsampling", "resampling", "noise", "color", "blur"), 6.0),
    "content": Head(("self_blend", "splice", "copy_move", "face_swap"), 10.0),
}
"""By name; the place of one is its seed, and says which third of the portraits it has held out."""
SMALL_HEADS = {
    "mixed": Head(("upsampling", "noise"), 5.0),
    "traces": Head(("noise", "blur"), 8.0),
    "content": Head(("color", "upsampling"), 8.0),
}
"""Those of the small detector, which is fitted whole; at 64 pixels few kinds can be seen."""

LEADING = (
    *("integrated_mask_gradient", "mask_gradient", "gwa_all_layers_signed", "gwa_signed", "gwa_clamp_heads"),
    *("gwa_all_layers_clamp_heads", "gwa_last_4_clamped", "gwa_last_layer", "attn_lrp", "chefer", "legrad"),
    "attention_guided_cam",
)
"""Rows of `forged.yaml` that are measured on all images: presets, what they were chosen from, rivals."""
EXACT = ("integrated_mask_gradient", "gwa_all_layers_signed", "chefer")
"""Rows that are computed in float32 throughout as well, on a few images."""
BLOCK = 9
"""Images of a block, about: each kind equally often."""


@dataclass(frozen=True)
class Run:
    """Some rows on some of the images of each head of a tower.

    Args:
        tower: Of the heads.
        name: Of the run.
        pace: Its block of number i comes at (i + 1) × pace in the order of all runs.
    """

    tower: str
    name: str
    pace: float


ORDER = (
    *(Run(SMALL, "all", 0.9), Run("dinov2-small", "leading", 1), Run("clip-vit-b16", "leading", 1.5)),
    *(Run("dinov2-small", "exact", 4), Run("clip-vit-b16", "exact", 6)),
    *(Run("dinov2-small", "suite", 5), Run("clip-vit-b16", "suite", 15)),
    *(Run("dinov2-small", "costly", 20), Run("clip-vit-b16", "costly", 30)),
)
"""Cheap ones first, so that towers of which little can be measured do not hold up the others."""
RUNS = tuple(dict.fromkeys(run.name for run in ORDER))


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Args:
        images: Of each head, at least, by run.
        pairs: That a head is fitted on.
        tuned: Pairs that norms are tuned on before, where that is needed.
        steps: Of fitting a small detector.
        tested: Pairs of held-out sources on which a head's AUC is measured.
    """

    images: dict[str, int]
    pairs: int
    tuned: int
    steps: int
    tested: int


SIZES = {
    "quick": Size({"all": 2, "leading": 1, "exact": 1, "suite": 1, "costly": 1}, 20, 20, 30, 10),
    "cpu": Size({"all": 67, "leading": 67, "exact": 4, "suite": 67, "costly": 9}, 240, 720, 700, 60),
    "gpu": Size({"all": 180, "leading": 180, "exact": 18, "suite": 180, "costly": 45}, 900, 6000, 1500, 180),
}


def head_of(tower: str, name: str) -> Head:
    """The head of a tower."""
    return (SMALL_HEADS if tower == SMALL else HEADS)[name]


def block_of(tower: str, head: str) -> int:
    """Images of a block: each kind equally often."""
    kinds = len(head_of(tower, head).kinds)
    return kinds * max(1, round(BLOCK / kinds))


@dataclass(frozen=True)
class Block:
    """Some images of one head, explained by the rows of one run.

    Args:
        run: It belongs to.
        head: Of the run's tower.
        number: From 0.
        images: How many it has.
    """

    run: Run
    head: str
    number: int
    images: int

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Tower, head, run and number."""
        return self.run.tower, self.head, self.run.name, self.number

    def folder(self, out: Path) -> Path:
        """Where it is run."""
        return out / self.run.tower / self.head / self.run.name / f"{self.number:02}"


def blocks(towers: Sequence[str], size: Size) -> Iterator[Block]:
    """All blocks in the order of the work; every prefix of it is balanced over heads and kinds."""
    turns = [
        ((number + 1) * run.pace, place, run, number)
        for place, run in enumerate(ORDER)
        if run.tower in towers
        for number in range(size.images[run.name])
    ]
    for _, _, run, number in sorted(turns, key=lambda turn: turn[:2]):
        for head in HEADS:
            block = block_of(run.tower, head)
            images = -(-size.images[run.name] // block) * block  # whole blocks …
            if size.images[run.name] < block:  # … unless there is to be less than one
                images = size.images[run.name]
            if number * block < images:
                yield Block(run, head, number, min(block, images - number * block))


HEADS_FILE = "heads.json"


def read_heads(folder: Path | None) -> dict[str, Any]:
    """Tower and head → how well the head tells on portraits that it has held out, as it was published."""
    path = None if folder is None else folder / HEADS_FILE
    return json.loads(path.read_text("utf-8")) if path is not None and path.is_file() else {}
