"""Do removing evidence and attacking it rank methods alike? Tsigos et al. beside ours: reports/tsigos.md.

    python benchmarks/tsigos.py                        # a search of 210 passes where the paper's has 4050
    python benchmarks/tsigos.py --size published       # the paper's; for a GPU, with --device cuda

The same maps of the shipped detector's forgeries, one of each shipped photograph, only where the detector
finds it, are judged by `tsigos` (the search changes the 1, 2 and 3 most relevant SLIC segments; needs
scikit-image), by removing patches (`vit-token`, `vit-mean`), and by patches of an image that was attacked as
a whole (`adversarial`). Every image is a line of a JSON Lines file: the same command again goes on.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import xai
from xai import attr
from xai.attention import evaluation_mode
from xai.core import Margin
from xai.data import forged_samples
from xai.metrics import evaluate, protocol
from xai.metrics.context import make_context
from xai.metrics.maps import to_patches
from xai.metrics.protocol import Protocol
from xai.models import Classifier
from xai.perturb import Stream
from xai.stats.agreement import tau_b

REPORT = Path("reports/tsigos")
FAKE = 1
DRAWS, SEED = 4000, 0
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "integrated_mask_gradient": ("integrated_mask_gradient", {"n_steps": 16}),
    "mask_gradient": ("mask_gradient", {}),
    "gradient_weighted_attention": ("gradient_weighted_attention", {}),
    "chefer": ("chefer", {}),
    "legrad": ("legrad", {}),
    "input_x_gradient": ("input_x_gradient", {}),
    "saliency": ("saliency", {}),
    "attention_rollout": ("attention_rollout", {}),
    "raw_attention": ("raw_attention", {}),
    "center_prior": ("center_prior", {}),
    "sobel": ("sobel", {}),
    "random 1": ("random", {"seed": 1}),
    "random 2": ("random", {"seed": 2}),
}
TRUTH = "forged mask"  # where the forgery is: no method, but what one would like to see
ROWS = (*METHODS, TRUTH)
JUDGES = {  # name in the report → protocol, metric, higher is better
    "tsigos, log-odds": ("tsigos", "comprehensiveness", 1),
    "tsigos, accuracy": ("tsigos", "accuracy_drop", 1),
    "SRG, patches dropped": ("token", "srg", 1),
    "deletion, patches dropped": ("token", "deletion", -1),
    "insertion, patches dropped": ("token", "insertion", 1),
    "SRG, mean colour": ("mean", "srg", 1),
    "SRG, attacked patches": ("adversarial", "srg", 1),
}


@dataclass(frozen=True)
class Size:
    """How much the search may ask.

    Args:
        search: Of a set of segments.
        whole: Of the whole image, for the operator `adversarial`.
    """

    search: dict[str, float]
    whole: dict[str, float]


SIZES = {
    "cpu": Size(
        {"samples": 10, "iterations": 10, "step": 8.0}, {"samples": 10, "iterations": 16, "step": 8.0}
    ),
    "published": Size({}, {}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="cpu")
    parser.add_argument(
        "--photographs", type=int, default=16, help="of the shipped ones, one forgery of each"
    )
    parser.add_argument("--per-photograph", type=int, default=1, help="forgeries of each that are found")
    parser.add_argument("--reach", type=int, default=3, help="images that the paper's search is tried on too")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=REPORT, help="without suffix")
    given = parser.parse_args()
    classifier = xai.load("demo", device=given.device)
    lines = given.out.with_name(f"{given.out.name}_{given.size}.jsonl")
    lines.parent.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in lines.read_text().splitlines()] if lines.is_file() else []
    said = protocols(SIZES[given.size])
    for sample in found_forgeries(classifier, given.photographs, given.per_photograph):
        if sample.id not in [one["id"] for one in done]:
            done.append(judged(classifier, sample, said))
            with lines.open("a") as file:
                file.write(json.dumps(done[-1]) + "\n")
            print(sample.id, {k: round(v[0], 2) for k, v in done[-1]["scores"].items()}, flush=True)
    reached = lines.with_name(f"{given.out.name}_reach.json")
    if not reached.is_file():
        samples = found_forgeries(classifier, given.reach, 1)
        reached.write_text(json.dumps([reach(classifier, sample, said["tsigos"]) for sample in samples]))
    text = report(done, said, given.size) + of_reach(json.loads(reached.read_text()))
    given.out.with_suffix(".md").write_text(text)


def protocols(size: Size) -> dict[str, Protocol]:
    """What judges, by name; margins, since the probability of a confident detector hardly moves."""
    return {
        "tsigos": protocol(
            {"base": "tsigos", "operator": {"name": "attack", **size.search}, "value": "margin"}
        ),
        "token": protocol({"base": "vit-token", "steps": 7}),
        "mean": protocol({"base": "vit-mean", "steps": 7}),
        "adversarial": protocol(
            {"base": "vit-mean", "steps": 7, "operator": {"name": "adversarial", **size.whole}}
        ),
    }


def found_forgeries(classifier: Classifier, photographs: int, each: int) -> Iterator[Any]:
    """Of every photograph the first forgeries that the detector finds."""
    samples = forged_samples(photos="shipped", count=16 * 13, kinds=("upsampling", "noise"), seed=0)
    found: dict[str, int] = {}
    for sample in samples:
        if found.get(sample.group, 0) >= each or (sample.group not in found and len(found) >= photographs):
            continue
        with torch.no_grad():
            logits = classifier(classifier.preprocess(sample.image)[None].to(classifier.device))
        if int(logits.argmax()) == FAKE:
            found[sample.group] = found.get(sample.group, 0) + 1
            yield sample


def judged(classifier: Classifier, sample: Any, said: dict[str, Protocol]) -> dict[str, Any]:
    """What every judge says of every row, and how the search fares by the gradient in its segments."""
    pixels = classifier.preprocess(sample.image)[None].to(classifier.device)
    target = torch.tensor([FAKE])
    maps = [
        attr.create(name, classifier, **options)
        .attribute_patches(pixels, Margin(FAKE))
        .detach()
        .float()
        .cpu()
        for name, options in METHODS.values()
    ]
    mask = torch.from_numpy(sample.mask)[None, None].float()
    mask = torch.nn.functional.interpolate(mask, pixels.shape[-2:])[0]
    relevance = torch.stack([*maps, to_patches(mask, tuple(maps[0].shape[1:]))])
    asked: dict[str, list[str]] = {}
    for name, metric, _ in JUDGES.values():
        asked.setdefault(name, []).append(metric)
    scores: dict[str, list[float]] = {}
    passes: dict[str, int] = {}
    curve = None
    for name, metrics in asked.items():
        stream = Stream(classifier)
        found = evaluate(stream, metrics, pixels, relevance, target, said[name])
        passes[name] = stream.forwards
        for judge, (of, metric, _) in JUDGES.items():
            if of == name:
                scores[judge] = found[metric].value[:, 0].tolist()
        if name == "tsigos":
            curve = found["comprehensiveness"]
    assert curve is not None
    return {
        "id": sample.id,
        "group": sample.group,
        "margin": float(curve.clean[0]),
        "whole": float(curve.clean[0] - curve.baseline[0]),
        "scores": scores,
        "passes": passes,
        "gradient": gradient_norms(classifier, pixels, relevance, said["tsigos"]),
    }


def reach(classifier: Classifier, sample: Any, said: Protocol) -> dict[str, Any]:
    """What this search and the paper's take off the margin in three segments of a map, and in random ones."""
    pixels = classifier.preprocess(sample.image)[None].to(classifier.device)
    chosen = ("integrated_mask_gradient", "random 1")
    maps = [
        attr.create(METHODS[row][0], classifier, **METHODS[row][1]).attribute_patches(pixels, Margin(FAKE))
        for row in chosen
    ]
    relevance = torch.stack([one.detach().float().cpu() for one in maps])
    found: dict[str, Any] = {"id": sample.id}
    for name, one in (("this", said), ("published", protocol({"base": "tsigos", "value": "margin"}))):
        stream = Stream(classifier)
        context = make_context(stream, pixels, relevance, torch.tensor([FAKE]), one)
        request = context.request(context.rank(relevance), [(0, 0), (0, 3)], one.operator)
        (values,) = stream.evaluate(pixels, torch.tensor([FAKE]), [request])
        clean, after = values.reshape(len(chosen), 2).T
        found[name], found["margin"] = (clean - after).tolist(), float(clean[0])
        found[f"{name} passes"] = stream.forwards
    return found


def gradient_norms(classifier: Classifier, pixels: Tensor, relevance: Tensor, said: Protocol) -> list[float]:
    """Per row: norm of the margin's gradient, added up over channels, in the top k segments; mean over k."""
    with evaluation_mode(classifier):
        inputs = pixels.clone().requires_grad_(True)
        logits = classifier(inputs)
        (logits[0, FAKE] - logits[0, 1 - FAKE]).backward()
    grey = inputs.grad[0].sum(0).cpu()
    context = make_context(Stream(classifier), pixels, relevance, torch.tensor([FAKE]), said)
    ranking = context.rank(relevance)
    ends = ranking.places(context.counts)
    inside = ranking.ranks[:, None] < ends[:, :, None, None]
    return (grey * inside).flatten(2).norm(dim=-1).mean(1).tolist()


# --------------------------------------------------------------------------------------------------- report


def of_sources(done: Sequence[dict[str, Any]], judge: str) -> np.ndarray:
    """(sources, rows) mean scores, larger is better."""
    sign = JUDGES[judge][2] if judge in JUDGES else 1
    groups: dict[str, list[list[float]]] = {}
    for one in done:
        values = one["gradient"] if judge not in JUDGES else one["scores"][judge]
        groups.setdefault(one["group"], []).append(values)
    return sign * np.array([np.mean(values, axis=0) for values in groups.values()])


def agreement(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """Kendall's tau-b of the rankings of the methods, and its 95 % percentile interval over sources."""
    rng = np.random.default_rng(SEED)
    rows = [ROWS.index(name) for name in ROWS if name != TRUTH]
    first, second = first[:, rows], second[:, rows]
    drawn = rng.integers(0, len(first), (DRAWS, len(first)))
    taus = tau_b(first[drawn].mean(1), second[drawn].mean(1))
    low, high = np.nanquantile(taus, [0.025, 0.975])
    return float(tau_b(first.mean(0), second.mean(0))), float(low), float(high)


def halves(values: np.ndarray) -> float:
    """Mean tau-b between the rankings of two random halves of the sources: how a judge agrees with itself."""
    rng = np.random.default_rng(SEED)
    rows = [ROWS.index(name) for name in ROWS if name != TRUTH]
    orders = rng.permuted(np.tile(np.arange(len(values)), (DRAWS // 4, 1)), axis=1)
    half = len(values) // 2
    one, other = (values[part][:, :, rows].mean(1) for part in (orders[:, :half], orders[:, half : 2 * half]))
    return float(np.nanmean(tau_b(one, other)))


def report(done: Sequence[dict[str, Any]], said: dict[str, Protocol], size: str) -> str:
    sources = len({one["group"] for one in done})
    search = said["tsigos"].operator.describe()
    tables = {judge: of_sources(done, judge) for judge in JUDGES}
    order = sorted(range(len(ROWS)), key=lambda row: -tables["SRG, patches dropped"].mean(0)[row])
    passes = {name: np.mean([one["passes"][name] for one in done]) for name in said}
    margins = np.array([one["margin"] for one in done])
    whole = np.array([one["whole"] for one in done])
    gradient = of_sources(done, "gradient")
    lines = [
        "# Removing evidence, or attacking it",
        "",
        f"`python benchmarks/tsigos.py --size {size}`: {len(done)} forgeries of {sources} shipped photos "
        f"that the shipped detector finds, {len(METHODS)} maps of each and the forged mask. Search: "
        f"{search['samples']} samples, {search['iterations']} iterations, steps of {search['step']:g}/255 "
        f"within {search['bound']:g}/255 (published: 40, 50, 1/255, 16/255); protocols "
        + ", ".join(f"{name} `{one.hash}`" for name, one in said.items())
        + ". Forward passes per image for all maps: "
        + ", ".join(f"{name} {count:.0f}" for name, count in passes.items())
        + ".",
        "",
        f"The detector's margin is {margins.mean():.1f} log-odds on average ({margins.min():.1f} to "
        f"{margins.max():.1f}). An attack on the whole image takes {whole.mean():.2f} of it.",
        "",
        "## Means over photographs",
        "",
        "| map | " + " | ".join(JUDGES) + " |",
        "|---|" + "---:|" * len(JUDGES),
    ]
    for row in order:
        means = [JUDGES[judge][2] * tables[judge].mean(0)[row] for judge in JUDGES]
        lines.append(f"| {ROWS[row]} | " + " | ".join(f"{value:.2f}" for value in means) + " |")
    lines += [
        "",
        "Drops in log-odds and areas in log-odds; accuracy: share of attacks that turn the answer.",
        "",
        "## How the rankings agree",
        "",
        "Kendall's τ-b of the rankings of the maps (without the mask), 95 % bootstrap percentiles over "
        "photographs. *Itself*: mean τ between random halves of the photographs, about the most that another "
        "judge can reach.",
        "",
        "| | itself | " + " | ".join(list(JUDGES)[1:]) + " |",
        "|---|" + "---:|" * len(JUDGES),
    ]
    pairs = {pair: agreement(tables[pair[0]], tables[pair[1]]) for pair in combinations(JUDGES, 2)}
    for judge in list(JUDGES)[:-1]:
        cells = [
            "{:.2f} [{:.2f}, {:.2f}]".format(*pairs[judge, other]) if (judge, other) in pairs else ""
            for other in list(JUDGES)[1:]
        ]
        lines.append(f"| {judge} | {halves(tables[judge]):.2f} | " + " | ".join(cells) + " |")
    tau = agreement(tables["tsigos, log-odds"], gradient)
    drop = np.concatenate([np.array(one["scores"]["tsigos, log-odds"]) for one in done])
    norm = np.concatenate([np.array(one["gradient"]) for one in done])
    lines += [
        "",
        "## What the search measures",
        "",
        "A search along an estimated gradient might measure no more than how steep the model is in the "
        "segments, whether the evidence stands there or not. Over all maps and images the drop and the norm "
        "of the gradient of the log-odds in the same segments (added up over channels) correlate by "
        f"{np.corrcoef(drop, norm)[0, 1]:.2f} (Pearson; 1 would mean that nothing else is measured), and the "
        "rankings of maps by the two agree by τ = {:.2f} [{:.2f}, {:.2f}].".format(*tau),
    ]
    return "\n".join(lines) + "\n"


def of_reach(found: Sequence[dict[str, Any]]) -> str:
    turned = [sum(one["published"][row] > one["margin"] for one in found) for row in (0, 1)]
    lines = [
        "",
        "## The paper's search",
        "",
        "What it takes off the margin, beside the search above, in three segments: the first of "
        "integrated_mask_gradient, and random ones. A search ends when the answer turns: the paper's did in "
        f"{turned[0]} of {len(found)} images in the segments of the map, and in {turned[1]} in random ones.",
        "",
        "| image | margin | above: map | above: random | paper's: map | paper's: random | passes |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for one in found:
        numbers = [one["margin"], *one["this"], *one["published"]]
        cells = [f"{value:.2f}" for value in numbers]
        cells.append(f"{one['this passes']} / {one['published passes']}")
        lines.append(f"| {one['id']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
