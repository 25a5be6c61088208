"""Gradient-weighted attention of a Swin-T, in forward passes of the same batch, beside the bound of autograd.

    python benchmarks/windowed_cost.py             # two or three minutes on a quiet machine
    python benchmarks/windowed_cost.py --rounds 2  # a look

A Swin-T of transformers with random weights at 224×224 pixels: one inference forward, the map, and a forward
with its backward pass alone, by turns on one thread; before that, once, finding where in the image the keys
of each layer lie. Writes `reports/speed/windowed.md`.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from measure import processor, spread
from torch import Tensor

from xai.attr import GradientWeightedAttention

TARGET = 2.0
CASES = [  # layers and the first of them, images, targets
    ("all_layers", 0, 1, [1]),
    ("all_layers", 0, 1, [0, 1]),
    ("all_layers", 0, 4, [1]),
    ("all_layers", 0, 4, [0, 1]),
    ("last_4_layers", 8, 1, [1]),
    ("last_4_layers", 8, 4, [1]),
    ("last_layer", 11, 1, [1]),
]


def classifier() -> Any:
    """A Swin-T with a head of two classes, whose weights ask for no gradient."""
    from transformers import SwinConfig, SwinForImageClassification

    import xai

    torch.manual_seed(0)
    options: dict[str, Any] = {"num_labels": 2}
    model = SwinForImageClassification(SwinConfig(**options)).eval().requires_grad_(False)
    return xai.load(model, labels=["real", "fake"])


def seconds(run: Callable[[], Any]) -> float:
    """CPU time of this thread."""
    start = time.thread_time()
    run()
    return time.thread_time() - start


def passes_alone(model: Any, x: Tensor, first: int, targets: list[int]) -> None:
    """A forward pass with a graph from a block on, and a backward pass to there for each target."""
    block = [module for module in model.modules() if type(module).__name__ == "SwinLayer"][first]
    leaves: list[Tensor] = []

    def begin(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        leaves.append(given[0].detach().requires_grad_())
        return leaves[0], *given[1:]

    with block.register_forward_pre_hook(begin):
        logits = model(x)
    for target in targets:
        torch.autograd.grad(logits[:, target].sum(), leaves[0], retain_graph=target != targets[-1])


@contextmanager
def without_subnormals() -> Iterator[None]:
    """Inside the block the processor takes subnormal numbers for zero, on this thread."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def row(model: Any, layers: str, first: int, images: int, targets: list[int], rounds: int) -> str:
    """One line of the table."""
    x = torch.randn(images, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    method = GradientWeightedAttention(model, layers)

    def forward() -> None:
        with torch.inference_mode():
            model(x)

    def flushed() -> None:
        with without_subnormals():
            passes_alone(model, x, first, targets)

    sides: dict[str, Callable[[], Any]] = {
        "map": lambda: method.attribute_targets(x, targets),
        "alone": lambda: passes_alone(model, x, first, targets),
        "flushed": flushed,
    }
    ratios: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        passed = seconds(forward)
        for name in list(sides)[:: 1 if number % 2 else -1]:
            ratio = seconds(sides[name]) / passed
            if number:  # the first warms up
                ratios[name].append(ratio)
    found = {name: spread(values) for name, values in ratios.items()}
    said = " | ".join(f"{f['median']:.2f} ({f['low']:.2f}–{f['high']:.2f})" for f in found.values())
    met = "met" if found["map"]["median"] <= TARGET else "missed"
    return f"| {layers} | {images} | {len(targets)} | {said} | {met} |"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    from xai.attention import grid_of, map_attention

    model = classifier()
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))

    def forward() -> None:
        with torch.inference_mode():
            model(x)

    forward()
    plain = seconds(forward)
    finding = seconds(lambda: map_attention(model, x, (), grid_of(model, x))) / plain
    rows = [row(model, *case, rounds=rounds) for case in CASES]
    page = f"""# Gradient-weighted attention of a Swin-T

CPU {processor()}. Written by `benchmarks/windowed_cost.py`.

A Swin-T of transformers, random weights, 224×224 pixels, one thread. CPU time by that of one inference
forward of the same batch, {rounds} rounds by turns: median (5th–95th percentile). `all_layers` is the default
of the method; for two classes is what `xai explain --preset one_pass` does. Finding where in the image the
keys of each layer lie costs {finding:.1f} forwards of one image, once for a model and size of input; it is in
none of the ratios. Load of the machine at the end: {os.getloadavg()[0]:.0f}. Asked for was a map at no more
than {TARGET} forwards.

*Passes alone*: the model's own forward pass, with a graph from the first chosen layer on, and one backward
pass to there for each class, of no weight; nothing is recorded or mapped. *Flushed*: the same where the
processor takes subnormal numbers for zero, which is the lower bound of any method that reads these
gradients. A matrix product costs as much backwards as forwards, and attention twice as much, so that all
layers cannot cost less than two forwards. Swin hides keys by adding −100, which leaves weights of 1e-44, and
with such numbers a processor counts slowly; the map's own attention has exact zeros there, in any thread and
without that switch.

| layers | images | classes | map | passes alone | passes alone, flushed | map ≤ {TARGET} |
| --- | ---: | ---: | --- | --- | --- | --- |
"""
    path = Path(__file__).resolve().parents[1] / "reports/speed/windowed.md"
    path.write_text(page + "\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
