"""Quadrature of the integrated mask gradient, measured: completeness and map error by rule and steps; cost.

    python benchmarks/mask_gradient_quadrature.py

Two sets: the shipped detector on the shipped images (margin fake − real), and small CLIP towers with random
weights (margin of two random classes). The slope ∂y/∂log m of every patch is computed at presences even in
log α (every 0.2 from e⁻²⁶ to 1) and interpolated by cubic splines; every rule is applied to the splines, and
the default rule also run for itself as a check. Per image, the completeness error is |sum of relevance −
(y(x) − y(all patches masked))| relative to |y(x) − y(all masked)|; the map error is the L2 distance to the
integral of the splines, relative to its norm. Splines smooth the sharpest images a little, so the row of the
default rule's own run is the one to rely on; random towers may have y(x) ≈ y(all masked), where a relative
error of the sum means little. Writes Markdown and JSON under reports/.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import transformers
from scipy.interpolate import CubicSpline
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel

import xai
from xai.attention import mask_patches
from xai.attr import IntegratedMaskGradient, create
from xai.attr.integration_paths import presence_path
from xai.core import Margin
from xai.data import shipped_samples

TARGET = Margin(1, 0)
RULES = [
    ("uniform", "midpoint"),
    ("uniform", "gauss_legendre"),
    ("s^2", "gauss_legendre"),
    ("s^3", "gauss_legendre"),
    ("s^4", "gauss_legendre"),
    ("s^8", "midpoint"),
    ("logarithmic", "midpoint"),
    ("logarithmic", "gauss_legendre"),
]
LOG_LEVELS = np.linspace(-26, 0, 131)
COSTS: list[tuple[str, dict]] = [
    ("gradient_weighted_attention", {"layers": "last_4_layers", "clamp": "fused"}),
    ("gradient_weighted_attention", {"layers": "all_layers"}),
    ("chefer", {}),
    ("legrad", {}),
    ("mask_gradient", {}),
    ("integrated_mask_gradient", {"n_steps": 48, "internal_batch_size": 32}),
]


class RandomTower(nn.Module):
    """A small CLIP tower, random weights large enough for attention to be uneven."""

    def __init__(self, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        self.config = CLIPVisionConfig(
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=6,
            num_attention_heads=4,
            patch_size=8,
            image_size=56,
        )
        self.tower, self.head = CLIPVisionModel(self.config), nn.Linear(64, 2)
        for name, parameter in self.named_parameters():
            if "norm" not in name:
                nn.init.normal_(parameter, std=0.15)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.tower(pixel_values=pixels).pooler_output)


def margin(model: nn.Module, pixels: Tensor, presence: float) -> Tensor:
    """y with every patch at the same presence."""
    grid = create("mask_gradient", model)._grid(pixels)
    level = torch.full((1, grid.patches), presence, dtype=pixels.dtype)
    with torch.no_grad(), mask_patches(model, level, grid):
        logits = model(pixels)
    return logits[:, 1] - logits[:, 0]


class Profile:
    """∂y/∂log m along the path, of every patch of every image of a set."""

    def __init__(self, sets: Sequence[tuple[nn.Module, Tensor]]):
        slopes, rises, checks = [], [], []
        for model, pixels in sets:
            method = IntegratedMaskGradient(model, n_steps=48, internal_batch_size=32)
            default = method.attribute_patches(pixels, TARGET)
            levels = []
            for alpha in np.exp(LOG_LEVELS).tolist():
                method.points = [(alpha, alpha)]
                levels.append(method.attribute_patches(pixels, TARGET).flatten(1).double().numpy())
            slopes.append(np.stack(levels))
            rises.append((margin(model, pixels, 1.0) - margin(model, pixels, 0.0)).double().numpy())
            checks.append(default.flatten(1).double().numpy())
        self.slopes, self.rise = np.concatenate(slopes, axis=1), np.concatenate(rises)
        self.checks = np.concatenate(checks)
        self.spline = CubicSpline(LOG_LEVELS, self.slopes)
        # below the lowest level the slope falls like α, and its integral in log α is its value there
        self.integral = self.spline.integrate(LOG_LEVELS[0], 0) + self.slopes[0]

    def at(self, alpha: np.ndarray) -> np.ndarray:
        log = np.log(alpha)
        return (
            self.spline(np.maximum(log, LOG_LEVELS[0]))
            * np.exp(np.minimum(log - LOG_LEVELS[0], 0))[:, None, None]
        )

    def row(self, maps: np.ndarray, **options: object) -> dict:
        """Errors of (images, patches) maps."""
        complete = np.abs((maps.sum(1) - self.rise) / self.rise)
        distance = np.linalg.norm(maps - self.integral, axis=1) / np.linalg.norm(self.integral, axis=1)
        return {
            **options,
            "completeness_median": float(np.median(complete)),
            "completeness_max": float(complete.max()),
            "map_median": float(np.median(distance)),
            "map_max": float(distance.max()),
        }


def errors(sets: Sequence[tuple[nn.Module, Tensor]], steps: list[int]) -> dict:
    """One row per rule and number of steps, over all images of a set."""
    profile, rows = Profile(sets), []
    for path, rule in RULES:
        for n in steps:
            alpha, weight = np.array(presence_path(n, path, rule)).T
            maps = np.tensordot(weight / alpha, profile.at(alpha), axes=1)
            rows.append(profile.row(maps, path=path, rule=rule, n_steps=n))
    return {
        "rows": rows,
        "reference": profile.row(profile.integral),
        "default_run": profile.row(profile.checks),
        "rise": profile.rise.tolist(),
    }


def decades(model: nn.Module, pixels: Tensor) -> list[dict]:
    """How much of y(x) − y(all masked) comes about in which range of presence, median over images."""
    levels = [0.0, *(10.0**-k for k in range(10, -1, -1))]
    y = torch.stack([margin(model, pixels, level) for level in levels])
    shares = (y[1:] - y[:-1]) / (y[-1] - y[0])
    return [
        {"from": low, "to": high, "share_median": float(share.median())}
        for low, high, share in zip(levels[:-1], levels[1:], shares, strict=True)
    ]


def costs(model: nn.Module, pixels: Tensor, pairs: int) -> list[dict]:
    """Ratio to one plain inference forward of the same batch, timed alternately."""

    def forward() -> None:
        with torch.no_grad():
            model(pixels)

    rows = []
    for name, options in COSTS:
        method = create(name, model, **options)
        ratios = []
        for i in range((pairs if "integrated" not in name else max(3, pairs // 5)) + 1):
            one, many = timed(forward), timed(lambda m=method: m.attribute_patches(pixels, TARGET))
            if i:  # the first is warm-up
                ratios.append(many / one)
        rows.append({"method": name, "options": options, "ratio": statistics.median(ratios)})
        rows[-1] |= {"low": min(ratios), "high": max(ratios), "pairs": len(ratios)}
        print(json.dumps(rows[-1]), flush=True)
    return rows


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def markdown(report: dict) -> str:
    header, lines = report["header"], ["# Quadrature of the integrated mask gradient", ""]
    lines += [
        "Written by `python benchmarks/mask_gradient_quadrature.py`; the raw figures are in the JSON that "
        "it writes beside it, which is not kept here. " + " ".join((__doc__ or "").split("\n\n")[2].split()),
        "",
        ", ".join(f"{k} {v}" for k, v in header.items()) + ".",
    ]
    for key, title in (
        ("demo", "Shipped detector, ten shipped images"),
        ("random", "Random CLIP towers, four seeds × two inputs"),
    ):
        lines += ["", f"## {title}", "", "Completeness error in %: median / largest over images.", ""]
        lines += table(report[key]["rows"], "completeness", report["steps"])
        lines += ["", "Map error in %: median / largest.", ""]
        lines += table(report[key]["rows"], "map", report["steps"])
        lines += ["", "| check | completeness error, % | map error, % |", "|---|---:|---:|"]
        for check, name in (
            ("reference", "integral of the splines"),
            ("default_run", "default options, run"),
        ):
            r = report[key][check]
            cells = [
                f"{percent(r[w + '_median'])} / {percent(r[w + '_max'])}" for w in ("completeness", "map")
            ]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "## Where along the path the score changes (shipped detector)", ""]
    lines += ["| presence of all patches | median share of y(x) − y(all masked) |", "|---|---:|"]
    lines += [
        f"| {d['from']:.0e} – {d['to']:.0e} | {100 * d['share_median']:.1f} % |" for d in report["path"]
    ]
    lines += ["", f"## Cost on the shipped detector, batch of {header['batch']}", ""]
    lines += ["| attribution | × one inference forward (lowest–highest) | pairs |", "|---|---:|---:|"]
    for c in report["costs"]:
        options = "".join(f", {k} {v}" for k, v in c["options"].items())
        lines.append(
            f"| {c['method']}{options} | {c['ratio']:.2f} ({c['low']:.2f}–{c['high']:.2f}) | {c['pairs']} |"
        )
    return "\n".join(lines) + "\n"


def table(rows: list[dict], what: str, steps: list[int]) -> list[str]:
    lines = [
        "| path, rule | " + " | ".join(f"{n} steps" for n in steps) + " |",
        "|---|" + "---:|" * len(steps),
    ]
    for path, rule in RULES:
        chosen = {r["n_steps"]: r for r in rows if (r["path"], r["rule"]) == (path, rule)}
        cells = [
            f"{percent(chosen[n][what + '_median'])} / {percent(chosen[n][what + '_max'])}" for n in steps
        ]
        lines.append(f"| {path}, {rule} | " + " | ".join(cells) + " |")
    return lines


def percent(share: float) -> str:
    return f"{100 * share:.2f}" if share < 0.1 else f"{100 * share:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, nargs="*", default=[8, 16, 24, 32, 40, 48, 64])
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=2, help="images per batch in the table of costs")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("reports"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    demo = xai.load("demo")
    pixels = torch.stack([demo.preprocess(s.image) for s in shipped_samples()[: options.images]])
    random = [
        (RandomTower(seed).eval(), torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(seed)))
        for seed in range(4)
    ]
    report = {
        "header": {
            "device": f"CPU {platform.machine()}",
            "threads": options.threads,
            "images": len(pixels),
            "batch": options.batch,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "steps": options.steps,
        "costs": costs(demo, pixels[: options.batch], options.pairs),
        "path": decades(demo, pixels),
        "random": errors(random, options.steps),
        "demo": errors([(demo, pixels)], options.steps),
    }
    options.out.mkdir(exist_ok=True)
    stem = options.out / "mask_gradient_quadrature"
    stem.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    stem.with_suffix(".md").write_text(markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
