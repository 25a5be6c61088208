"""Costly tests on the first images: infidelity, sensitivity, class sensitivity, randomised models."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from xai import attr
from xai.bench.run.context import RunContext
from xai.bench.run.inputs import InputImage, degraded_pixels
from xai.bench.run.maps import make_maps
from xai.bench.run.plan import metrics_of
from xai.bench.run.records import RecordTemplate
from xai.core import ModelError, Record, UsageError, XaiError
from xai.core.target import margin_of
from xai.data.degradations import Kind, levels
from xai.metrics.captum_metrics import infidelity, sensitivity_max
from xai.metrics.randomization import randomization
from xai.metrics.robustness import kept_answers, robustness_of_maps, unrelated_agreement
from xai.metrics.similarity import class_sensitivity
from xai.stats import Exclusion

BLOCK_STAGES = 4  # of the cascade, beside head and embeddings
CheckScores = tuple[Tensor, Tensor | None]  # value (methods, B), curve (methods, B, K)


def check_records(
    context: RunContext, template: RecordTemplate, relevance: Tensor, usable: Tensor
) -> tuple[list[Record], list[Exclusion]]:
    """Records of the configured checks, and what could not be checked.

    Args:
        context: Of the run.
        template: Images of one shape.
        relevance: (methods, B, rows, cols) maps of the followed class, zero where the method failed.
        usable: (methods, B) where it did not.
    """
    records: list[Record] = []
    excluded: list[Exclusion] = []
    for metric in metrics_of(context.config, "class", "method"):
        try:
            values, curves = CHECKS[metric](context, template, relevance)
        except UsageError:
            raise
        except XaiError as error:
            reason = f"{metric}: {' '.join(error.message.split())}"
            excluded += [Exclusion(one.id, "*", template.protocol, reason) for one in template.images]
            continue
        finite = values.isfinite()
        for m, configuration in enumerate(context.configurations):
            places = [i for i in range(len(template.images)) if usable[m, i] and finite[m, i]]
            reason = f"{metric}: {_NO_VALUE.get(metric, 'the method gave no map for what the check asks')}"
            excluded += [
                Exclusion(one.id, configuration.name, template.protocol, reason)
                for i, one in enumerate(template.images)
                if usable[m, i] and not finite[m, i]
            ]
            records += template.plain(
                metric,
                configuration,
                places,
                values[m, places].tolist(),
                curves=() if curves is None else curves[m, places].tolist(),
            )
    return records, excluded


def _infidelity(context: RunContext, template: RecordTemplate, relevance: Tensor) -> CheckScores:
    """All methods meet the same perturbations, and the model is asked once for all of them."""

    def some(batch: Sequence[int]) -> list[Tensor]:
        value = infidelity(
            context.classifier,
            _pixels(context, [template.images[i] for i in batch]),
            relevance[:, list(batch)],
            _targets(context, [template.targets[i] for i in batch]),
            seed=context.config.seed,
            batch_size=context.batches.size,
        )
        return list(value.T)

    return torch.stack(context.batches.run(some, range(len(template.images))), 1), None


def _sensitivity(context: RunContext, template: RecordTemplate, relevance: Tensor) -> CheckScores:
    values = []
    for configuration in context.configurations:
        method = attr.create(configuration.method, context.classifier, **configuration.options)

        def some(batch: Sequence[int], method: attr.PatchAttribution = method) -> list[Tensor]:
            value = sensitivity_max(
                method.attribute_patches,
                _pixels(context, [template.images[i] for i in batch]),
                _targets(context, [template.targets[i] for i in batch]),
                seed=context.config.seed,
                batch_size=context.batches.size,
            )
            return list(value)

        try:
            values.append(torch.stack(context.batches.run(some, range(len(template.images)))))
        except ModelError:  # one method's failure is not the others'
            values.append(torch.full((len(template.images),), torch.nan, dtype=torch.float64))
    return torch.stack(values), None


def _class_sensitivity(context: RunContext, template: RecordTemplate, relevance: Tensor) -> CheckScores:
    """Against the map of the class that is likeliest among the others.

    Both maps explain the class's own logit: two opposite margins would differ by construction.
    """
    others = []
    for one, target in zip(template.images, template.targets, strict=True):
        logits = one.logits.clone()
        logits[target] = -torch.inf
        others.append(int(logits.argmax()))
    maps = [
        _explained(context, context.classifier, template.images, classes, margin=False)
        for classes in (template.targets, others)
    ]
    broken = maps[0].isnan().flatten(2).any(-1) | maps[1].isnan().flatten(2).any(-1)
    pairs = zip(maps[0].nan_to_num(), maps[1].nan_to_num(), strict=True)
    values = torch.stack([class_sensitivity(*pair) for pair in pairs])
    return values.masked_fill(broken.to(values.device), torch.nan), None


def _randomization(context: RunContext, template: RecordTemplate, relevance: Tensor) -> CheckScores:
    broken: list[Tensor] = []  # (methods, B) for every model asked

    def explainer(model: nn.Module) -> Callable[[Tensor, Any], Tensor]:
        margin = context.config.explain == "margin"

        def maps(pixels: Tensor, target: Any) -> Tensor:
            found = _explained(context, model, template.images, template.targets, margin)
            broken.append(found.isnan().flatten(2).any(-1).cpu())
            return found.nan_to_num()

        return maps

    found = randomization(
        context.classifier,
        explainer,
        _pixels(context, template.images),
        seed=context.config.seed,
        groups=BLOCK_STAGES,
    )
    failed = torch.stack(broken).any(0).to(found.value.device)
    return found.value.masked_fill(failed, torch.nan), found.spearman


def _robustness(kind: Kind, context: RunContext, template: RecordTemplate, relevance: Tensor) -> CheckScores:
    """All methods meet the same degraded pictures."""
    places = [next(iter(context.source.entries(one.index, one.index + 1))) for one in template.images]
    margin = context.config.explain == "margin"
    maps, answers = [], []
    for level in levels(kind):
        worse = [
            replace(image, pixels=degraded_pixels(context.classifier, entry, level))
            for image, entry in zip(template.images, places, strict=True)
        ]
        maps.append(_explained(context, context.classifier, worse, template.targets, margin).cpu())
        with torch.no_grad():
            parts = _pixels(context, worse).split(context.batches.size)
            answers.append(torch.cat([context.classifier(part) for part in parts]).float().cpu())
    clean = torch.stack([one.logits for one in template.images])
    broken = torch.stack([one.isnan().flatten(2).any(-1) for one in maps]).any(0)
    found = robustness_of_maps(
        relevance.cpu(),
        [one.nan_to_num() for one in maps],
        kept_answers(context.classifier, clean, answers),
    )
    return found.value.masked_fill(broken, torch.nan), found.spearman


def _unrelated(context: RunContext, template: RecordTemplate, relevance: Tensor) -> CheckScores:
    groups = [one.group for one in template.images]
    return torch.stack([unrelated_agreement(one, groups) for one in relevance]), None


CHECKS: dict[str, Callable[[RunContext, RecordTemplate, Tensor], CheckScores]] = {
    "infidelity": _infidelity,
    "sensitivity_max": _sensitivity,
    "class_sensitivity": _class_sensitivity,
    "randomization": _randomization,
    "robustness_jpeg": partial(_robustness, "jpeg"),
    "robustness_resize": partial(_robustness, "resize"),
    "robustness_noise": partial(_robustness, "noise"),
    "unrelated_agreement": _unrelated,
}
_CHANGED = "the model answers otherwise at every level, or the method gave no map there"
_NO_VALUE = {
    **{f"robustness_{kind}": _CHANGED for kind in ("jpeg", "resize", "noise")},
    "unrelated_agreement": "no other group is among the images of its shard that are checked",
}


def _explained(
    context: RunContext, model: Any, images: Sequence[InputImage], targets: Sequence[int], margin: bool
) -> Tensor:
    """(methods, B, rows, cols) of images of one shape, NaN where a method fails."""
    maps = make_maps(model, context.configurations, images, targets, margin, context.batches, strict=False)
    return maps.stacked(context.configurations, 0)


def _targets(context: RunContext, targets: Sequence[int]) -> list[Any]:
    if context.config.explain != "margin":
        return list(targets)
    return [margin_of(target, context.classifier.problem_type) for target in targets]


def _pixels(context: RunContext, images: Sequence[InputImage]) -> Tensor:
    return torch.stack([one.pixels for one in images]).to(context.classifier.device)
