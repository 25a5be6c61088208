"""One work item, from images to records: what every engine runs."""

from collections.abc import Sequence
from time import perf_counter

import torch
from torch import Tensor

from xai.attention import evaluation_mode
from xai.bench.config.method_configurations import digest, greedy_configuration
from xai.bench.run.checks import check_records
from xai.bench.run.context import RunContext
from xai.bench.run.inputs import InputImage, by_shape
from xai.bench.run.items import CHECKS, MAPS, PRECISION, SURVEY, WorkItem
from xai.bench.run.masks import count_masks
from xai.bench.run.plan import MAP_NEEDS, metrics_of
from xai.bench.run.records import RecordTemplate
from xai.bench.run.store import WorkResult
from xai.bench.run.survey_rows import survey_rows
from xai.core import Record
from xai.metrics import METRICS, evaluate, greedy_order
from xai.metrics.protocol import Protocol
from xai.perturb import Stream, tie_fraction
from xai.stats import Exclusion

_MISSED = "the model gives another class, and the protocol scores right answers only"


def run_item(context: RunContext, item: WorkItem) -> WorkResult:
    """Explain, perturb and score one shard under one protocol.

    A function of the settings and the work item alone: on equal hardware, equal records in any process.
    """
    with evaluation_mode(context.classifier):
        return _run(context, item)


def _run(context: RunContext, item: WorkItem) -> WorkResult:
    start = perf_counter()
    if item.protocol == SURVEY:
        rows, excluded = survey_rows(context, item)
        return WorkResult((), excluded, 0, perf_counter() - start, rows=rows)
    if item.protocol == PRECISION:
        stream = context.exact_stream
        before = stream.forwards
        found = [_scored(context, item, one, one.name, stream) for one in context.protocols.values()]
        records = tuple(record for records, _ in found for record in records)
        return WorkResult(records, (), stream.forwards - before, perf_counter() - start)
    stream = context.stream
    before = stream.forwards
    records, excluded = _scored(context, item, context.protocols.get(item.protocol), item.protocol, stream)
    names = {entry.id for entry in context.source.entries(item.start, item.stop)}
    excluded = tuple(one for one in excluded if one.image in names)
    masks = count_masks(
        (one.label or one.kind or "", one.extent)
        for one in context.images(item.shard)[0]
        if one.index in item.images
    )
    return WorkResult(tuple(records), excluded, stream.forwards - before, perf_counter() - start, masks)


def _scored(
    context: RunContext, item: WorkItem, protocol: Protocol | None, name: str, stream: Stream
) -> tuple[list[Record], list[Exclusion]]:
    """Records of an item's images under a protocol, or of maps or checks, and what could not be scored."""
    kind = (protocol or next(iter(context.protocols.values()))).target
    images, broken = context.images(item.shard)
    images, targets, unknown = context.targets(images, kind, name)
    excluded = [*broken, *unknown]
    records: list[Record] = []
    if not images:
        return records, excluded
    maps = context.maps(item.shard, images, targets, kind)
    excluded += maps.exclusions(name)
    class_of = dict(zip([one.index for one in images], targets, strict=True))
    missed: set[int] = set()
    if protocol is not None and protocol.images == "correct":
        missed = {one.index for one in images if int(one.logits.argmax()) != class_of[one.index]}
        excluded += [Exclusion(one.id, "*", name, _MISSED) for one in images if one.index in missed]
    for group, same in enumerate(by_shape(images)):
        # a check looks at some images of a shard, but maps are made and kept for all of it
        places = [i for i, one in enumerate(same) if one.index in item.images and one.index not in missed]
        what = digest({"protocol": name, "target": kind})
        template = RecordTemplate(
            classifier=context.classifier,
            protocol=name,
            protocol_hash=protocol.hash if protocol else what,
            images=[same[i] for i in places],
            targets=[class_of[same[i].index] for i in places],
            cost=maps.cost,
            seed=context.config.seed,
        )
        if places:
            relevance, usable = _usable(maps.stacked(context.configurations, group)[:, places])
            if protocol is not None:
                # a search within every step of a search would take years
                none = item.protocol == PRECISION or protocol.operator.passes > 1
                greedy = 0 if none else context.config.controls.greedy_images
                records += _perturbation_records(
                    context, protocol, template, relevance, usable, stream, greedy
                )
            elif item.protocol == MAPS:
                records += _map_records(context, template, relevance, usable)
            elif item.protocol == CHECKS:
                checked, failed = check_records(context, template, relevance, usable)
                records, excluded = records + checked, excluded + failed
    return records, excluded


def _perturbation_records(
    context: RunContext,
    protocol: Protocol,
    template: RecordTemplate,
    relevance: Tensor,
    usable: Tensor,
    stream: Stream,
    greedy_images: int,
) -> list[Record]:
    """One call of the stream for all methods and metrics; a second one for the greedy orders."""
    metrics = metrics_of(context.config, "perturbation")
    if not metrics:
        return []
    pixels, targets = _stack(template.images), torch.tensor(template.targets)
    found = evaluate(stream, metrics, pixels, relevance, targets, protocol, seed=context.config.seed)
    records = [
        record
        for metric in metrics
        for record in template.perturbed(metric, context.configurations, found[metric], usable)
    ]
    chosen = [i for i, one in enumerate(template.images) if one.index < greedy_images]
    if chosen:
        subset = template.subset(chosen)
        pixels, targets = pixels[chosen], targets[chosen]
        order = greedy_order(stream, pixels, targets, protocol.operator)[None]
        found = evaluate(stream, metrics, pixels, order, targets, protocol, seed=context.config.seed)
        greedy = greedy_configuration(context.config)
        _, usable = _usable(order)
        records += [
            r for metric in metrics for r in subset.perturbed(metric, [greedy], found[metric], usable)
        ]
    return records


def _map_records(
    context: RunContext, template: RecordTemplate, relevance: Tensor, usable: Tensor
) -> list[Record]:
    """Metrics of the map alone, and of the map and the mask for images that have one."""
    records = []
    for m, configuration in enumerate(context.configurations):
        for metric in metrics_of(context.config, *MAP_NEEDS):
            function = METRICS[metric].function
            if function is None:
                raise TypeError(f"metric {metric!r} has no function")
            truths = [_truth(one, METRICS[metric].needs) for one in template.images]
            places = [i for i, truth in enumerate(truths) if usable[m, i] and truth is not None]
            if not places:
                continue
            chosen = relevance[m, places]
            known = [truth for i in places if (truth := truths[i]) is not None and truth.numel()]
            values = function(chosen, torch.stack(known)) if known else function(chosen)
            ties = tie_fraction(chosen.flatten(1)).tolist()
            records += template.plain(metric, configuration, places, values.tolist(), ties=ties)
    return records


def _usable(relevance: Tensor) -> tuple[Tensor, Tensor]:
    """Relevance with zeros where a method failed, and (methods, B) where it did not."""
    usable = relevance.isfinite().flatten(2).all(-1)
    return torch.where(usable[..., None, None], relevance, 0.0), usable


def _stack(images: Sequence[InputImage]) -> Tensor:
    return torch.stack([one.pixels for one in images])


def _truth(image: InputImage, needs: str) -> Tensor | None:
    """Where a metric should find the relevance; nothing for one that asks for no truth, None if not known."""
    return {"mask": image.mask, "clicks": image.clicks}.get(needs, torch.empty(0))
