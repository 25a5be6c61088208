"""Perturbed images in float32 and in bfloat16 by turns: time, and how far the scores move.

    python benchmarks/precision.py               # six minutes on one core

Stream alone, this build: SRG, deletion and insertion of images under two protocols, for a map by gradients
and a random one. The difference of a score is given in units of the range of its curves' values, as largest
and as mean (bias) and standard deviation over images of the map that differs most.
"""

import time

import torch
import turns
from attribution_cost import Detector
from measure import spread

import xai
from xai.attr import create
from xai.bench.run.precision import has_bfloat16
from xai.core import keep_freed_memory
from xai.data import forged_samples
from xai.metrics import evaluate
from xai.perturb import Stream

TARGET = 1.6
METRICS = ["srg", "deletion", "insertion"]
PROTOCOLS = {"dropped": "vit-token", "mean colour": "vit-mean"}


def task(name: str, images: int) -> tuple[torch.nn.Module, torch.Tensor]:
    if name == "shipped detector":
        classifier = xai.load("demo")
        samples = forged_samples(count=images)
        return classifier, torch.stack([classifier.preprocess(one.image) for one in samples])
    torch.manual_seed(0)
    classifier = Detector(224, "sdpa").requires_grad_(False).eval()
    return classifier, torch.randn(images, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def measured(name: str, images: int, steps: int, rounds: int) -> list[list[str]]:
    classifier, pixels = task(name, images)
    with torch.no_grad():
        targets = classifier(pixels).argmax(1)
    method = create("gradient_weighted_attention", classifier)
    maps = [method.attribute_patches(pixels, 1), torch.rand(images, 14, 14)]
    relevance = torch.stack([one.float() for one in maps])
    rows = []
    for label, base in PROTOCOLS.items():
        seconds, found = {}, {}
        for autocast in (None, torch.bfloat16) * (rounds + 1):
            stream = Stream(classifier, batch_size=32, autocast=autocast)  # as a configuration has it
            start = time.process_time()
            found[autocast] = evaluate(
                stream, METRICS, pixels, relevance, targets, {"base": base, "steps": steps}
            )
            seconds.setdefault(autocast, []).append(time.process_time() - start)
        ratio = spread([a / b for a, b in zip(seconds[None][1:], seconds[torch.bfloat16][1:], strict=True)])
        exact, low = found[None], found[torch.bfloat16]
        span = float(exact["deletion"].curve.max() - exact["deletion"].curve.min())
        for metric in METRICS:
            apart = (low[metric].value - exact[metric].value) / span
            worst = int(apart.mean(1).abs().argmax())
            rows.append([
                name,
                label,
                metric,
                turns.percentiles(ratio),
                "yes" if ratio["median"] >= TARGET else "no",
                f"{apart.abs().max():.2%}",
                f"{apart[worst].mean():+.3%}",
                f"{apart[worst].std():.3%}",
            ])  # fmt: skip
        curve = (low["deletion"].curve - exact["deletion"].curve).abs().max() / span
        print(name, label, turns.percentiles(ratio), f"curve point at most {curve:.2%}", flush=True)
    return rows


def main() -> None:
    options = turns.parser(str(__doc__), 5).parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    rows = measured("shipped detector", 8, 14, options.rounds)
    rows += measured("CLIP ViT-B/16, random weights", 2, 7, max(2, options.rounds // 2))
    native = "has" if has_bfloat16(torch.device("cpu")) else "has no"
    able = torch.cpu.get_capabilities()
    instructions = [name for name in ("avx512_bf16", "amx_bf16") if able.get(name)]
    path = turns.publish(
        "precision",
        "Perturbed images in bfloat16",
        [
            f"float32 and bfloat16 by turns in this build, CPU seconds of one thread, {options.rounds} "
            f"rounds (ViT-B/16: {max(2, options.rounds // 2)}); median, 5th and 95th percentile. This "
            f"processor {native} instructions for bfloat16 ({', '.join(instructions)}). "
            f"Target: {TARGET} times as fast.",
            "Scores: SRG, deletion and insertion of 8 images in 14 steps (ViT-B/16: 2 in 7), of "
            "gradient-weighted attention and "
            "a random map. Differences from float32 in units of the range of the deletion curves' "
            "values: largest; and of the "
            "map with the larger bias, mean and standard deviation over images. The ViT-B/16 has "
            "random weights, so that its "
            "answers hardly move, and the range that differences are measured in is small.",
            "The stream alone; what a whole run gains is in `benchmarks/run_profile.py`. A run "
            "measures its own error, and does not tell apart what it could explain: "
            "[how](../../docs/benchmark.md#faster-in-bfloat16).",
        ],
        [
            "model",
            "patches",
            "metric",
            "times as fast",
            "target met",
            "largest",
            "bias",
            "standard deviation",
        ],
        rows,
    )
    print(f"Wrote {path}")


if __name__ == "__main__":
    main()
