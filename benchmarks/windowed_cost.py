"""Gradient-weighted attention of a Swin-T, in forward passes of the same batch.

    python benchmarks/windowed_cost.py             # a minute or two on a quiet machine
    python benchmarks/windowed_cost.py --rounds 2  # a look

A Swin-T of transformers with random weights at 224×224 pixels: one inference forward, and the map of one
class from all twelve layers, by turns on one thread; before that, once, finding where in the image the keys
of each layer lie. Writes `reports/speed/windowed.md`.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measure import processor, spread

TARGET = 2.0


def classifier() -> Any:
    """A Swin-T with a head of two classes."""
    from transformers import SwinConfig, SwinForImageClassification

    import xai

    torch.manual_seed(0)
    options: dict[str, Any] = {"num_labels": 2}
    model = SwinForImageClassification(SwinConfig(**options)).eval()
    return xai.load(model, labels=["real", "fake"])


def seconds(run: Callable[[], Any]) -> float:
    """CPU time of this thread."""
    start = time.thread_time()
    run()
    return time.thread_time() - start


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    from xai.attention import grid_of, map_attention
    from xai.attr import GradientWeightedAttention

    model = classifier()
    rows, finding = [], 0.0
    for images in (1, 4):
        x = torch.randn(images, 3, 224, 224, generator=torch.Generator().manual_seed(1))

        def forward(x: torch.Tensor = x) -> None:
            with torch.inference_mode():
                model(x)

        forward()
        if images == 1:
            plain = seconds(forward)
            finding = seconds(lambda x=x: map_attention(model, x, (), grid_of(model, x))) / plain
        method = GradientWeightedAttention(model)
        seconds(lambda x=x, method=method: method.attribute_patches(x, 1))
        pairs = []
        for _ in range(rounds):
            passed = seconds(forward)
            pairs.append(seconds(lambda x=x, method=method: method.attribute_patches(x, 1)) / passed)
        found = spread(pairs)
        said = f"{found['median']:.2f} ({found['low']:.2f}–{found['high']:.2f})"
        met = "met" if found["median"] <= TARGET else "missed"
        rows.append(f"| {images} | ≤ {TARGET} | {said} | {met} |")
    page = f"""# Gradient-weighted attention of a Swin-T

CPU {processor()}. Written by `benchmarks/windowed_cost.py`.

A Swin-T of transformers, random weights, 224×224 pixels, all twelve layers, one class, one thread. CPU time
of the map by that of one inference forward of the same batch, {rounds} pairs by turns: median (5th–95th
percentile). Finding where in the image the keys of each layer lie costs {finding:.1f} forwards of one image,
once for a model and size of input; it is in none of the ratios. Load of the machine at the end:
{os.getloadavg()[0]:.0f}.

| images | target | map ÷ forward |  |
| ---: | --- | --- | --- |
"""
    path = Path(__file__).resolve().parents[1] / "reports/speed/windowed.md"
    path.write_text(page + "\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
