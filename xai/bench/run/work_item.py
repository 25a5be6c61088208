"""One unit of work, from images to records: what every engine runs."""

from collections.abc import Sequence
from time import perf_counter

import torch
from torch import Tensor

from xai.bench.config.method_configurations import digest, greedy_row
from xai.bench.run.checks import check_records
from xai.bench.run.context import Context
from xai.bench.run.inputs import Prepared, by_shape
from xai.bench.run.masks import count_masks
from xai.bench.run.plan import CHECKS, MAPS, Unit, metrics_of
from xai.bench.run.records import Sheet
from xai.bench.run.store import Outcome
from xai.core import Record
from xai.metrics import METRICS, evaluate, greedy_order
from xai.metrics.protocol import Protocol
from xai.perturb import tie_fraction
from xai.perturb.stream import evaluation_mode


def run_unit(context: Context, unit: Unit) -> Outcome:
    """Explain, perturb and score one shard under one protocol.

    A function of the settings and the unit alone: on equal hardware, equal records in any process.
    """
    with evaluation_mode(context.classifier):
        return _run(context, unit)


def _run(context: Context, unit: Unit) -> Outcome:
    start, before = perf_counter(), context.stream.forwards
    protocol = context.protocols.get(unit.protocol)
    kind = (protocol or next(iter(context.protocols.values()))).target
    images, broken = context.images(unit.shard)
    images, targets, unknown = context.targets(images, kind, unit.protocol)
    excluded = [*broken, *unknown]
    records: list[Record] = []
    if images:
        maps = context.maps(unit.shard, images, targets, kind)
        excluded += maps.exclusions(unit.protocol)
        class_of = dict(zip([one.index for one in images], targets, strict=True))
        for group, same in enumerate(by_shape(images)):
            # a check looks at some images of a shard, but maps are made and kept for all of it
            places = [i for i, one in enumerate(same) if one.index in unit.images]
            what = digest({"protocol": unit.protocol, "target": kind})
            sheet = Sheet(
                classifier=context.classifier,
                protocol=unit.protocol,
                protocol_hash=protocol.hash if protocol else what,
                images=[same[i] for i in places],
                targets=[class_of[same[i].index] for i in places],
                cost=maps.cost,
                seed=context.config.seed,
            )
            if places:
                relevance, usable = _usable(maps.stacked(context.rows, group)[:, places])
                if protocol is not None:
                    records += _perturbed(context, protocol, sheet, relevance, usable)
                elif unit.protocol == MAPS:
                    records += _looked_at(context, sheet, relevance, usable)
                elif unit.protocol == CHECKS:
                    checked, failed = check_records(context, sheet, relevance, usable)
                    records, excluded = records + checked, excluded + failed
    names = {entry.id for entry in context.source.entries(unit.start, unit.stop)}
    excluded = [one for one in excluded if one.image in names]
    forwards = context.stream.forwards - before
    masks = count_masks(one for one in context.images(unit.shard)[0] if one.index in unit.images)
    return Outcome(tuple(records), tuple(excluded), forwards, perf_counter() - start, masks)


def _perturbed(
    context: Context, protocol: Protocol, sheet: Sheet, relevance: Tensor, usable: Tensor
) -> list[Record]:
    """One call of the stream for all methods and metrics; a second one for the greedy orders."""
    metrics = metrics_of(context.config, "perturbation")
    if not metrics:
        return []
    pixels, targets = _stack(sheet.images), torch.tensor(sheet.targets)
    found = evaluate(context.stream, metrics, pixels, relevance, targets, protocol, seed=context.config.seed)
    records = [
        record
        for metric in metrics
        for record in sheet.perturbed(metric, context.rows, found[metric], usable)
    ]
    chosen = [i for i, one in enumerate(sheet.images) if one.index < context.config.controls.greedy_images]
    if chosen:
        part = sheet.part(chosen)
        pixels, targets = pixels[chosen], targets[chosen]
        order = greedy_order(context.stream, pixels, targets, protocol.operator)[None]
        found = evaluate(context.stream, metrics, pixels, order, targets, protocol, seed=context.config.seed)
        row = greedy_row(context.config)
        _, usable = _usable(order)
        records += [r for metric in metrics for r in part.perturbed(metric, [row], found[metric], usable)]
    return records


def _looked_at(context: Context, sheet: Sheet, relevance: Tensor, usable: Tensor) -> list[Record]:
    """Metrics of the map alone, and of the map and the mask for images that have one."""
    records = []
    for m, row in enumerate(context.rows):
        for metric in metrics_of(context.config, "map", "mask"):
            function = METRICS[metric].function
            if function is None:
                raise TypeError(f"metric {metric!r} has no function")
            masked = METRICS[metric].needs == "mask"
            places = [
                i for i, one in enumerate(sheet.images) if usable[m, i] and not (masked and one.mask is None)
            ]
            if not places:
                continue
            chosen = relevance[m, places]
            values = function(chosen, _masks(sheet.images, places)) if masked else function(chosen)
            ties = tie_fraction(chosen.flatten(1)).tolist()
            records += sheet.plain(metric, row, places, values.tolist(), ties=ties)
    return records


def _usable(relevance: Tensor) -> tuple[Tensor, Tensor]:
    """Relevance with zeros where a method failed, and (rows, B) where it did not."""
    usable = relevance.isfinite().flatten(2).all(-1)
    return torch.where(usable[..., None, None], relevance, 0.0), usable


def _stack(images: Sequence[Prepared]) -> Tensor:
    return torch.stack([one.pixels for one in images])


def _masks(images: Sequence[Prepared], places: Sequence[int]) -> Tensor:
    return torch.stack([mask for i in places if (mask := images[i].mask) is not None])
