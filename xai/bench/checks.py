"""Costly tests on the first images: infidelity, sensitivity, class sensitivity, randomised models."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from xai import attr
from xai.bench.assemble import Sheet
from xai.bench.context import Context
from xai.bench.maps import explain
from xai.bench.plan import metrics_of
from xai.bench.prepared import Exclusion, Prepared
from xai.core import Margin, Record, UsageError, XaiError
from xai.metrics.captum_metrics import infidelity, sensitivity_max
from xai.metrics.class_sensitivity import class_sensitivity
from xai.metrics.randomization import randomization

BLOCK_STAGES = 4  # of the cascade, beside head and embeddings
Found = tuple[Tensor, Tensor | None]  # value (rows, B), curve (rows, B, K)


def check_records(
    context: Context, sheet: Sheet, relevance: Tensor, usable: Tensor
) -> tuple[list[Record], list[Exclusion]]:
    """Records of the configured checks, and what could not be checked.

    Args:
        context: Of the run.
        sheet: Images of one shape.
        relevance: (rows, B, rows, cols) maps of the followed class, zero where the method failed.
        usable: (rows, B) where it did not.
    """
    records: list[Record] = []
    excluded: list[Exclusion] = []
    for metric in metrics_of(context.config, "class", "method"):
        try:
            values, curves = CHECKS[metric](context, sheet, relevance)
        except UsageError:
            raise
        except XaiError as error:
            reason = f"{metric}: {' '.join(error.message.split())}"
            excluded += [Exclusion(one.id, "*", sheet.protocol, reason) for one in sheet.images]
            continue
        for m, row in enumerate(context.rows):
            places = [i for i in range(len(sheet.images)) if usable[m, i]]
            records += sheet.plain(
                metric,
                row,
                places,
                values[m, places].tolist(),
                curves=() if curves is None else curves[m, places].tolist(),
            )
    return records, excluded


def _infidelity(context: Context, sheet: Sheet, relevance: Tensor) -> Found:
    """All rows meet the same perturbations, and the model is asked once for all of them."""

    def some(batch: Sequence[int]) -> list[Tensor]:
        value = infidelity(
            context.classifier,
            _pixels(context, [sheet.images[i] for i in batch]),
            relevance[:, list(batch)],
            _targets(context, [sheet.targets[i] for i in batch]),
            seed=context.config.seed,
            batch_size=context.batches.size,
        )
        return list(value.T)

    return torch.stack(context.batches.run(some, range(len(sheet.images))), 1), None


def _sensitivity(context: Context, sheet: Sheet, relevance: Tensor) -> Found:
    values = []
    for row in context.rows:
        method = attr.create(row.method, context.classifier, **row.options)

        def some(batch: Sequence[int], method: attr.PatchAttribution = method) -> list[Tensor]:
            value = sensitivity_max(
                method.attribute_patches,
                _pixels(context, [sheet.images[i] for i in batch]),
                _targets(context, [sheet.targets[i] for i in batch]),
                seed=context.config.seed,
                batch_size=context.batches.size,
            )
            return list(value)

        values.append(torch.stack(context.batches.run(some, range(len(sheet.images)))))
    return torch.stack(values), None


def _class_sensitivity(context: Context, sheet: Sheet, relevance: Tensor) -> Found:
    """Against the map of the class that is likeliest among the others.

    Both maps explain the class's own logit: two opposite margins would differ by construction.
    """
    others = []
    for one, target in zip(sheet.images, sheet.targets, strict=True):
        logits = one.logits.clone()
        logits[target] = -torch.inf
        others.append(int(logits.argmax()))
    maps = [
        _explained(context, context.classifier, sheet.images, classes, margin=False)
        for classes in (sheet.targets, others)
    ]
    return torch.stack([class_sensitivity(*pair) for pair in zip(*maps, strict=True)]), None


def _randomization(context: Context, sheet: Sheet, relevance: Tensor) -> Found:
    def explainer(model: nn.Module) -> Callable[[Tensor, Any], Tensor]:
        margin = context.config.explain == "margin"
        return lambda pixels, target: _explained(context, model, sheet.images, sheet.targets, margin)

    found = randomization(
        context.classifier,
        explainer,
        _pixels(context, sheet.images),
        seed=context.config.seed,
        groups=BLOCK_STAGES,
    )
    return found.value, found.spearman


CHECKS: dict[str, Callable[[Context, Sheet, Tensor], Found]] = {
    "infidelity": _infidelity,
    "sensitivity_max": _sensitivity,
    "class_sensitivity": _class_sensitivity,
    "randomization": _randomization,
}


def _explained(
    context: Context, model: Any, images: Sequence[Prepared], targets: Sequence[int], margin: bool
) -> Tensor:
    """(rows, B, rows, cols) of images of one shape, NaN where a method fails."""
    maps = explain(model, context.rows, images, targets, margin, context.batches, strict=False)
    return maps.stacked(context.rows, 0)


def _targets(context: Context, targets: Sequence[int]) -> list[Any]:
    return [Margin(target) for target in targets] if context.config.explain == "margin" else list(targets)


def _pixels(context: Context, images: Sequence[Prepared]) -> Tensor:
    return torch.stack([one.pixels for one in images]).to(context.classifier.device)
