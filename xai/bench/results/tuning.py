"""Search the knobs of gradient-weighted attention, and measure what that gains on held-out images."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xai.attention import evaluation_mode, probe
from xai.attr import LAYER_PRESETS, GradientWeightedAttention, attribute_many
from xai.attr.layers import HEAD_FUSIONS
from xai.bench.config.reading import read_benchmark
from xai.bench.config.schema import BenchmarkConfig
from xai.bench.run.context import RunContext
from xai.bench.run.inputs import InputImage, by_shape
from xai.core import DataError, UsageError, derive_seed, nearest
from xai.core.target import margin_of
from xai.metrics import METRICS, evaluate
from xai.metrics.protocol import Protocol
from xai.models import Classifier
from xai.stats import Comparison, compare_paired, phrase_comparison, to_json

METHOD = "gradient_weighted_attention"
Options = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """A choice of options.

    Args:
        options: Of `GradientWeightedAttention`.
        mean: Mean score over all images.
        folds: In how many folds it was the best on the images left to choose from.
    """

    options: Options
    mean: float
    folds: int


@dataclass(frozen=True)
class Tuning:
    """What a search found.

    Args:
        best: Options with the best mean over all images: what to use from now on.
        gain: Scores of the options chosen without an image, on that image, against the default's: what
            tuning gains on images it did not see.
        optimism: Mean gain of `best` on the images it was chosen by: what one would wrongly report.
        candidates: All, best mean first.
        folds: Number of folds.
        images: Used.
        metric: What was maximised.
        protocol: Under which protocol, and its hash.
        forwards: Forward passes of perturbed images.
    """

    best: Options
    gain: Comparison
    optimism: float
    candidates: tuple[Candidate, ...]
    folds: int
    images: int
    metric: str
    protocol: tuple[str, str]
    forwards: int

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return to_json(self)


def tune(
    config: BenchmarkConfig | str | Path,
    *,
    metric: str = "srg",
    protocol: str | None = None,
    images: int | None = None,
    folds: int = 5,
    classifier: Classifier | None = None,
    progress: Callable[[int, int], None] | None = None,
    trust_code: bool = False,
) -> Tuning:
    """Search layers, fusions, sign and rows of gradient-weighted attention for the best SRG, or localisation.

    Nested: for each fold of the images the best candidate of the other folds is measured on the fold, so
    every image is scored by options that were chosen without it (and without its group).

    Args:
        config: A benchmark's, for model, data, protocols, seed and batch size; its methods take no part.
        metric: `srg`, or one that compares maps with masks, such as `average_precision`: then images without
            a mask, or with an empty one, take no part, and the protocol says no more than the class.
        protocol: Name of one of its protocols; default the first.
        images: Use at most so many, the first ones.
        folds: At most the number of groups of images.
        classifier: The model, if it is not to be loaded as the configuration says.
        progress: Called with images done and in all.
        trust_code: Whether the `factory` of the model's YAML may run; no configuration can say so itself.

    Raises:
        UsageError: An unknown protocol, another metric, or fewer than two folds.
        DataError: Fewer than two groups of images could be used.
        ModelError: The model cannot be explained.
    """
    if metric not in (known := tuned_metrics()):
        raise UsageError(f"Options are not tuned for {metric!r}.", nearest(metric, known))
    config = config if isinstance(config, BenchmarkConfig) else read_benchmark(config, trust_code=trust_code)
    context = RunContext(config, None, classifier, trust_code=trust_code)
    context.import_code()
    chosen = _protocol(context, protocol)
    if folds < 2:
        raise UsageError(f"folds={folds}: at least 2 are needed to measure on unseen images.")
    with evaluation_mode(context.classifier):
        options, default, scores, groups = _measure(context, metric, chosen, images, progress)
    names = np.array(groups)
    distinct = list(dict.fromkeys(groups))
    if len(distinct) < 2:
        raise DataError(
            f"{len(groups)} usable images in {len(distinct)} group leave nothing to measure on.",
            "Give images of at least two groups.",
        )
    folds = min(folds, len(distinct))
    held_out, winners = _cross_validate(scores, names, distinct, folds, config.seed)
    gain = compare_paired(
        held_out,
        scores[:, default],
        None if len(distinct) == len(groups) else groups,
        names=("tuned", "default"),
        alpha=config.statistics.alpha,
        resamples=config.statistics.resamples,
        seed=config.seed,
    )
    means = _grouped_means(scores, names)
    won = Counter(winners)
    order = np.argsort(-means, kind="stable")
    return Tuning(
        best=options[int(order[0])],
        gain=gain,
        optimism=float(means[order[0]] - means[default]),
        candidates=tuple(Candidate(options[i], float(means[i]), won[int(i)]) for i in order),
        folds=folds,
        images=len(groups),
        metric=metric,
        protocol=(chosen.name, chosen.hash),
        forwards=context.stream.forwards,
    )


def tuned_metrics() -> list[str]:
    """What options can be chosen for: faithfulness, or where a forged region lies."""
    return ["srg", *(one.name for one in METRICS.values() if one.needs == "mask" and one.higher_is_better)]


def candidates(depth: int) -> list[Options]:
    """All choices for a model of `depth` attention layers, none of which must rank patches as another does.

    The sum over layers ranks as the mean does; with one layer all fusions of layers are the same; in the
    last layer only the rows that are read carry gradient.
    """
    found: dict[tuple[Any, ...], Options] = {}
    presets = [
        (name, indices or tuple(range(-depth, 0)))
        for name, indices in LAYER_PRESETS.items()
        if indices is None or -min(indices) <= depth
    ]
    fusions = ("mean", "max", "product")
    for (layers, indices), heads, fused, clamp, rows in product(
        presets, HEAD_FUSIONS, fusions, ("fused", "heads", None), ("read_out", "all")
    ):
        fusion = fused if len(indices) > 1 else "mean"
        rows = rows if indices != (-1,) else "read_out"
        key = (indices, heads, fusion, clamp, rows)
        found.setdefault(
            key,
            {"layers": layers, "head_fusion": heads, "layer_fusion": fusion, "clamp": clamp, "rows": rows},
        )
    return list(found.values())


def defaults(depth: int) -> Options:
    """The method's own defaults, in the words of `candidates`: the first name for all layers."""
    return {
        "layers": {1: "last_layer", 2: "last_2_layers", 4: "last_4_layers"}.get(depth, "all_layers"),
        "head_fusion": "mean",
        "layer_fusion": "mean",
        "clamp": None,
        "rows": "read_out",
    }


def _protocol(context: RunContext, name: str | None) -> Protocol:
    found = context.protocols
    if name is not None and name not in found:
        raise UsageError(f"The configuration has no protocol {name!r}.", nearest(name, found))
    return found[name] if name is not None else next(iter(found.values()))


def _measure(
    context: RunContext,
    metric: str,
    protocol: Protocol,
    limit: int | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[Options], int, np.ndarray, list[str]]:
    """Options, the default's place, scores (images, candidates) and groups of the usable images."""
    total = min(len(context.source), limit or len(context.source))
    shards = -(-total // context.config.shard_size)
    depth = 0
    options: list[Options] = []
    scores: list[np.ndarray] = []
    groups: list[str] = []
    for shard in range(shards):
        ready, _ = context.images(shard)
        ready, targets, _ = context.targets(ready, protocol.target, protocol.name)
        class_of = {one.index: target for one, target in zip(ready, targets, strict=True)}
        usable = [one for one in ready if one.index < total and (metric == "srg" or _mask(one).any())]
        for same in by_shape(usable):
            depth = depth or _depth(context, same[0])
            options = options or candidates(depth)
            for batch in _batches(same, context.config.batch_size):
                targets = [class_of[one.index] for one in batch]
                scores.append(_scores(context, metric, protocol, options, batch, targets))
                groups += [one.group for one in batch]
        if progress:
            progress(min((shard + 1) * context.config.shard_size, total), total)
    if not scores:
        advice = None if metric == "srg" else "Give images with masks: xai forge makes some."
        raise DataError(f"None of {total} images could be used.", advice)
    return options, options.index(defaults(depth)), np.concatenate(scores), groups


def _depth(context: RunContext, image: InputImage) -> int:
    """Number of attention layers."""
    classifier = context.classifier
    return probe(classifier, image.pixels[None].to(classifier.device), (), classifier.grid).layers


def _mask(image: InputImage) -> torch.Tensor:
    """(H, W) where an image was forged; nowhere where that is not known."""
    return torch.zeros(image.pixels.shape[1:], dtype=torch.bool) if image.mask is None else image.mask


def _scores(
    context: RunContext,
    metric: str,
    protocol: Protocol,
    options: Sequence[Options],
    images: Sequence[InputImage],
    targets: Sequence[int],
) -> np.ndarray:
    """(images, candidates) of the metric; all candidates share one pass per class, and equal states."""
    classifier = context.classifier
    methods = {str(i): GradientWeightedAttention(classifier, **one) for i, one in enumerate(options)}
    pixels = torch.stack([one.pixels for one in images])
    margin = context.config.explain == "margin"
    found = np.empty((len(images), len(options)))
    for target in sorted(set(targets)):
        places = [i for i, one in enumerate(targets) if one == target]
        some = pixels[places].to(classifier.device)
        maps = attribute_many(
            methods, some, [margin_of(target, classifier.problem_type) if margin else target]
        )
        relevance = torch.stack([maps[name][0] for name in methods]).float().cpu()
        if metric != "srg" and (localised := METRICS[metric].function):
            for place, of_image in zip(places, relevance.unbind(1), strict=True):
                found[place] = localised(of_image, _mask(images[place]).expand(len(of_image), -1, -1))
            continue
        scored = evaluate(context.stream, ["srg"], pixels[places], relevance, target, protocol)
        found[places] = scored["srg"].value.T.cpu().numpy()
    return found


def _batches(images: Sequence[InputImage], size: int) -> Iterator[Sequence[InputImage]]:
    for start in range(0, len(images), size):
        yield images[start : start + size]


def _cross_validate(
    scores: np.ndarray, groups: np.ndarray, distinct: Sequence[str], folds: int, seed: int
) -> tuple[np.ndarray, list[int]]:
    """(images,) score of the candidate that was chosen without the image's fold, and each fold's choice."""
    order = np.random.default_rng(derive_seed(seed, "folds")).permutation(len(distinct))
    fold_of = {distinct[place]: rank % folds for rank, place in enumerate(order)}
    fold = np.array([fold_of[group] for group in groups])
    held_out, winners = np.empty(len(scores)), []
    for index in range(folds):
        others = fold != index
        winners.append(int(_grouped_means(scores[others], groups[others]).argmax()))
        held_out[~others] = scores[~others, winners[-1]]
    return held_out, winners


def _grouped_means(scores: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(candidates,) mean over groups of the mean over their images: each group counts once."""
    return np.mean([scores[groups == group].mean(0) for group in np.unique(groups)], axis=0)


def method_config(tuning: Tuning) -> Mapping[str, Any]:
    """What `--method-config` reads: the method, its options, and where they come from."""
    name, digest = tuning.protocol
    gain = tuning.gain
    return {
        "method": METHOD,
        "options": dict(tuning.best),
        "tuned": {
            "metric": tuning.metric,
            "protocol": name,
            "protocol_hash": digest,
            "images": tuning.images,
            "folds": tuning.folds,
            "held_out_gain": {"mean": gain.difference, "low": to_json(gain.low), "high": to_json(gain.high)},
            "verdict": phrase_comparison(gain),
        },
    }
