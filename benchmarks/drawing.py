"""Drawing and saving the pictures of explanations, in an earlier build and in this one by turns.

python benchmarks/drawing.py   # five minutes, to reports/speed/drawing.md; needs make .venv-base/.installed

Photographs are shipped ones, maps are random ones of the usual size: what they show does not matter here.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import turns
from PIL import Image

PATCHES = 14
TARGET = 5.0
ROUNDS = {"6000 × 4000": 3, "heads": 5}  # where a round takes long
METHODS = ("gradient_weighted_attention", "integrated_gradients", "attention_rollout", "attn_lrp")


def random_map(seed: int) -> np.ndarray:
    """A map with a sign: few strong patches among many weak ones."""
    return (np.random.default_rng(seed).standard_normal((PATCHES, PATCHES)) ** 3).astype(np.float32)


def explained(name: str, size: tuple[int, int], box: bool = False) -> Any:
    """A photograph of `size` as both classes of a detector would be explained."""
    from xai import data
    from xai.core import Explanation, Geometry, Sample

    width, height = size
    image = Image.open(Path(data.__file__).parent / "photos" / f"{name}.jpg").convert("RGB")
    side = min(image.size) if width == height else 0
    if side:
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    image = image.resize(size, Image.Resampling.BICUBIC)
    crop = (width * 0.4, height * 0.3, width * 0.25, width * 0.25)
    seen = (crop[0], crop[1], crop[0] + crop[2], crop[1] + crop[3]) if box else (0, 0, *size)
    return Explanation(
        Sample(name, image, Path(f"{name}.jpg"), label="fake", box=crop if box else None),
        ("real", "fake"),
        np.array([0.5, 2.0], np.float32),
        {"real": random_map(1), "fake": random_map(2)},
        Geometry(size, seen),
        METHODS[0],
        {"layers": "last_4_layers", "clamp": "none"},
        {"name": "demo", "fingerprint": "0" * 64},
    )


def image_set(explanation: Any) -> Iterator[Any]:
    """The three pictures of one image as `xai explain` draws them."""
    import xai.report as report

    module = import_module("xai.report.pictures")
    if hasattr(module, "ExplanationPictures"):
        pictures = module.ExplanationPictures(explanation)
        attention, comparison = pictures.attention, pictures.comparison
    else:
        attention = partial(report.draw_class, explanation)
        comparison = partial(report.draw_comparison, explanation)
    for name in explanation.maps:
        yield attention(name)
    yield comparison("fake", "real")


def layers(explanation: Any) -> Iterator[Any]:
    from xai.report import draw_layers

    titles = [f"layer {index}" for index in range(12)]
    yield draw_layers(
        {title: replace(explanation, maps={"fake": random_map(seed)}) for seed, title in enumerate(titles)},
        "fake",
    )


def heads(explanation: Any) -> Iterator[Any]:
    from xai.report import draw_heads

    maps = np.stack([[random_map(12 * layer + head) for head in range(12)] for layer in range(12)])
    yield draw_heads(explanation, maps, [f"layer {index}" for index in range(12)], "fake")


def methods(explanation: Any) -> Iterator[Any]:
    from xai.report import draw_methods

    row = {
        name: replace(explanation, method=name, maps={"fake": random_map(i)})
        for i, name in enumerate(METHODS)
    }
    yield draw_methods([row] * 4, "fake")


CASES: dict[str, tuple[str, Any, Any]] = {
    "512 × 512": ("one image: real, fake, comparison", image_set, ("cat", (512, 512))),
    "224 × 224": ("one image", image_set, ("owl", (224, 224))),
    "1280 × 720": ("one image", image_set, ("china", (1280, 720))),
    "1600 × 1200, crop": ("one image, a crop of it explained", image_set, ("astronaut", (1600, 1200), True)),
    "6000 × 4000": ("one image", image_set, ("picos_de_europa", (6000, 4000))),
    "layers": ("12 layers, 512 × 512", layers, ("chelsea", (512, 512))),
    "heads": ("12 × 12 heads, 512 × 512", heads, ("chelsea", (512, 512))),
    "methods": ("4 images × 4 methods, 512 × 512", methods, ("cat", (512, 512))),
}


def job(case: str) -> Any:
    """Draws and saves a case's pictures; returns what does it, with the photograph read before."""
    state: dict[str, Any] = {}

    def draw() -> dict[str, float]:
        from xai.report import save

        _, pictures, photograph = CASES[case]
        explanation = state.setdefault("explanation", explained(*photograph))
        before = state.setdefault("before", memory("VmRSS"))
        with TemporaryDirectory() as folder:
            for number, picture in enumerate(pictures(explanation)):
                save(picture, Path(folder, f"{number}.png"))
            size = sum(path.stat().st_size for path in Path(folder).iterdir())
        return {"bytes": size, "extra_mb": memory("VmHWM") - before}

    return draw


def memory(key: str) -> float:
    """MB of resident memory, or the most there ever was (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(key)).split()[1]) / 1024


def main() -> None:
    options = turns.parser(__doc__ or "", rounds=10).parse_args()
    rows, worst, larger = [], {}, []
    for case, (what, pictures, _) in CASES.items():
        pairs = turns.by_turns(__file__, case, min(options.rounds, ROUNDS.get(case, options.rounds)))
        ratio = turns.ratios(pairs)
        seconds, size, extra = (turns.medians(pairs, key) for key in ("cpu", "bytes", "extra_mb"))
        if pictures is image_set:
            worst[case] = ratio["median"]
        if size[1] > size[0]:
            larger.append(f"{case} ({size[1] / size[0]:.2f})")
        row = [
            f"{case}: {what}" if case[0].isdigit() else what,
            f"{1000 * seconds[0]:.0f} → {1000 * seconds[1]:.0f}",
            turns.percentiles(ratio, 1),
            f"{size[0] / 1e6:.2f} → {size[1] / 1e6:.2f}",
            f"{extra[0]:.0f} → {extra[1]:.0f}",
        ]
        print(*row, sep=" | ", flush=True)
        rows.append(row)
    least = min(worst, key=lambda case: worst[case])
    missed = [case for case, ratio in worst.items() if ratio < TARGET]
    turns.publish(
        "drawing",
        "Drawing and saving pictures",
        [
            f"The earlier build ({turns.BASE}) and this one by turns, one process each, up to "
            f"{options.rounds} rounds: CPU time, medians of the rounds and the ratio pair by pair with its "
            "5th and 95th percentile; size of the files; most memory beyond what the process held before.",
            f"Target for one image's three pictures: {TARGET:.0f} times as fast, files no larger. "
            + (f"Missed: {', '.join(missed)}." if missed else f"Met; least for {least} ({worst[least]:.1f}).")
            + (f" Larger files: {', '.join(larger)}." if larger else " No larger files."),
            "Most of what is left is zlib. Tried: the filters Average and Paeth instead of Up (Paeth: files "
            "4 % smaller for photographs, up to 4 % larger for enlarged ones, and slow in numpy); zlib's "
            "levels 1 and 3 (12 % faster and 3 % larger; 40 % slower and 4 % smaller); its strategies for "
            "runs and for Huffman codes alone (no faster, larger); Pillow's own writer (twice as slow: it "
            "tries five filters for each row).",
        ],
        ["pictures", "ms", "times as fast", "MB", "extra memory, MB"],
        rows,
    )


if __name__ == "__main__":
    turns.serve({case: job(case) for case in CASES})
    sys.exit(main())
