"""Small requests to the stream: how much of its time is the model's, beside an earlier build by turns.

    python benchmarks/short_requests.py          # six minutes on one core

A request is deletion and insertion of one image in ten steps (or as many as said) under vit-token, where
removed tokens are dropped: 18 states of nine sizes, and both ends. Pure is the same number of whole images
through the model, in batches as large as the stream takes by itself on a CPU.
"""

import time
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

import turns
from measure import spread

CASES = {
    "shipped detector, 1 image": ("demo", 1, 1, 10),
    "shipped detector, 4 images × 3 maps": ("demo", 4, 3, 10),
    "shipped detector, 1 image, 28 steps": ("demo", 1, 1, 28),
    "CLIP ViT-B/16, 1 image": ("vit", 1, 1, 10),
}
HEADER = [
    "request",
    "before, × pure forward",
    "now, × pure forward",
    "times as fast",
    "filled up",
    "filled up, sizes joined",
    "sizes joined, time ÷ now",
    "largest difference of values, of their range",
]
BATCH = 8  # images of a pass: what this build's stream takes on a CPU
JOINED = 64  # a call's cost in tokens with which the stream would fill up neighbouring sizes
TURNS = 3  # of the stream as it divides states, and with that


def job(model: str, images: int, maps: int, steps: int):
    """Stream, pure, and values; in this build also with neighbouring sizes joined, by turns."""
    import torch

    import xai
    from xai.core import keep_freed_memory
    from xai.metrics import evaluate
    from xai.perturb import Stream

    torch.set_num_threads(1)
    keep_freed_memory()
    torch.manual_seed(0)
    if model == "demo":
        classifier = xai.load("demo")
    else:
        from attribution_cost import Detector

        classifier = Detector(224, "sdpa").requires_grad_(False).eval()
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(images, 3, 224, 224, generator=generator)
    relevance = torch.rand(maps, images, 14, 14, generator=generator)
    targets = torch.zeros(images, dtype=torch.long)
    protocol = {"base": "vit-token", "steps": steps}

    def stream() -> tuple[float, int, list[float]]:
        one = Stream(classifier)
        start = time.process_time()
        found = evaluate(one, ["deletion", "insertion"], pixels, relevance, targets, protocol)
        seconds = time.process_time() - start
        return (
            seconds,
            one.forwards,
            [v for s in found.values() if s.curve is not None for v in s.curve.flatten().tolist()],
        )

    def run() -> dict:
        seconds, forwards, values = stream()
        start = time.process_time()
        with torch.inference_mode():
            for batch in torch.arange(forwards).split(BATCH):
                classifier(pixels[batch % images])
        figures = {"stream": seconds, "pure": time.process_time() - start, "values": values}
        try:
            from xai.perturb.states import CALL
        except ImportError:
            return figures
        usual, sums = CALL["cpu"], dict.fromkeys(("usual", "joined"), 0.0)
        for turn in range(2 * TURNS):
            which = ("usual", "joined")[(turn + turn // 2) % 2]  # each as often first
            CALL["cpu"] = usual if which == "usual" else JOINED
            sums[which] += stream()[0]
        CALL["cpu"] = usual
        return figures | sums

    return run


def padding(images: int, maps: int, steps: int, call: int) -> str:
    """Share of the tokens of a request that are filled up, as the stream divides it."""
    import numpy as np

    from xai.perturb.states import batches_by_size

    left = 196 - np.round(196 * np.arange(1, steps) / steps).astype(int)
    sizes = np.repeat(np.concatenate([left, 196 - left]), images * maps)
    order, lengths = batches_by_size(sizes, BATCH, call)
    parts = np.split(sizes[order], np.cumsum(lengths)[:-1])
    return f"{100 * (1 - sizes.sum() / sum(len(part) * part.max() for part in parts)):.1f} %"


def publish(rows: Sequence[Sequence[str]], rounds: int) -> Path:
    from xai.perturb.states import CALL

    call, gpu = CALL["cpu"], CALL["cuda"]
    return turns.publish(
        "short_requests",
        "Small requests to the stream of perturbed states",
        [
            f"Builds {turns.BASE} and this one by turns, {rounds} rounds, CPU seconds of one "
            "thread; median, 5th and 95th percentile. A request is deletion and insertion in ten steps (or "
            "as many as said) under vit-token: 18 states of nine sizes for each image and map, and both "
            "ends.",
            "Before, 32 states of any size shared a batch and cost as much as the largest. Now a batch holds "
            f"at most {BATCH} states, of one size, or of neighbouring sizes where the call that this saves "
            "is dearer than what is filled up: on a CPU a call is taken to cost as much as "
            f"{call} tokens (on a GPU, untried, {gpu}). *Sizes joined* is what it would be at {JOINED}: what "
            "is filled up, and its time by that of the batches taken, by turns; above 1 is the slower way. "
            "With 4 images × 3 maps both ways are the same, which shows how much these figures scatter.",
        ],
        HEADER,
        rows,
    )


def main() -> None:
    from xai.perturb.states import CALL

    options = turns.parser(str(__doc__), 5).parse_args()
    rows = []
    for case, (_, *size) in CASES.items():
        pairs = turns.by_turns(__file__, case, options.rounds)
        of_pure = [[t.figures["stream"] / t.figures["pure"] for t in pair] for pair in pairs]
        before, now = (spread([pair[place] for pair in of_pure]) for place in (0, 1))
        joined = spread([pair[1].figures["joined"] / pair[1].figures["usual"] for pair in pairs])
        values = [turn.figures["values"] for turn in pairs[0]]
        apart = max(abs(a - b) for a, b in zip(*values, strict=True))
        rows.append([
            case,
            turns.percentiles(before),
            turns.percentiles(now),
            turns.percentiles(turns.ratios(pairs, "stream")),
            padding(*size, CALL["cpu"]),
            padding(*size, JOINED),
            turns.percentiles(joined),
            f"{apart:.1g} of {max(values[0]) - min(values[0]):.2g}",
        ])  # fmt: skip
        print(rows[-1], flush=True)
        print(f"Wrote {publish(rows, options.rounds)}", flush=True)


if __name__ == "__main__":
    made = cache(job)
    turns.serve({case: partial(lambda what: made(*what)(), what) for case, what in CASES.items()})
    main()
