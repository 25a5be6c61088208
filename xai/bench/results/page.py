"""A run as a page, made of its folder alone: neither the model nor the images are needed."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xai.bench.config.lookup import preset_of
from xai.bench.config.method_configurations import GREEDY
from xai.bench.data.parquet import rows_of
from xai.bench.results.images import RunImage, images_by_shard, images_of_shard
from xai.bench.results.summary import summarise
from xai.bench.run.description import RunDescription
from xai.bench.run.store import Store, read_run
from xai.core import DataError, Record, derive_seed
from xai.core.language import current_language, gettext
from xai.stats import Summary, to_json

if TYPE_CHECKING:
    from xai.report.image_payload import Image
    from xai.report.payload import Page, PageMetric

SAMPLED = 200


def page_of_run(run: str | Path, *, images: int | None = SAMPLED, seed: int = 0) -> "Page":
    """What a page says of a run, finished or not.

    Args:
        run: Its folder.
        images: How many images to show, drawn at random; None for all. Statistics are always about all.
        seed: Of the draw.

    Raises:
        DataError: No run, one without any finished unit, or a broken part.
        UsageError: pandas, pyarrow or SciPy is not installed.
    """
    from xai.bench.results.page_metrics import cards
    from xai.core.runtime import __version__
    from xai.report.about import model_description
    from xai.report.payload import Page, PageMethod  # a run need not wait for what draws

    run, description = Path(run), read_run(run)
    store, summary = Store(run), summarise(run)
    if not summary.parts:
        raise DataError(f"{run} has no record yet.", "Run its benchmark until a unit is finished.")
    shards = images_by_shard(store)
    measured = sum(map(len, shards.values()))
    chosen = _chosen(run, shards, description, images, seed)
    labels = description.model.labels
    records = _records(store, {one.id for one in chosen})
    found = _images(chosen, records, description, summary)
    return Page(
        kind="benchmark",
        lang=current_language(),
        title=_title(summary),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        model=model_description(to_json(description.model.content)),
        labels=labels,
        problem_type=description.problem_type,
        rows=[
            PageMethod(
                name=one.name,
                method=one.method,
                control=one.control,
                options=to_json(one.options),
                preset=preset_of(one.method, one.options),
            )
            for one in description.methods
        ],
        classes=[label for label in labels if any(label in _classes(one) for one in found)],
        parts=_metrics(
            summary, chain.from_iterable(records.values()), description, any(image.fills for image in found)
        ),
        summary=_sent_on(summary),
        cards=cards(summary, description.methods),
        provenance=_provenance(
            description, summary, seed if images is not None and len(found) == images < measured else None
        ),
        shown=(len(found), measured),
        images=found,
    )


def _sent_on(summary: Summary) -> Summary:
    """A summary without this machine's folders."""
    from xai.report.about import model_description, prose_without_folders, without_folders

    session = dict(summary.provenance)
    model = session.pop("model")
    return replace(
        summary,
        provenance=without_folders(session) | {"model": model | model_description(model)},
        exclusions=tuple(
            replace(one, reason=prose_without_folders(one.reason)) for one in summary.exclusions
        ),
    )


def _title(summary: Summary) -> str:
    done, units = summary.units
    if done == units:
        return summary.name
    return gettext(
        "{name} (unfinished: {done} of {total} work items)", name=summary.name, done=done, total=units
    )


def _chosen(
    run: Path,
    shards: Mapping[int, Sequence[str]],
    description: RunDescription,
    images: int | None,
    seed: int,
) -> list[RunImage]:
    """The images shown, in the order of the data."""
    ids = [name for names in shards.values() for name in names]
    wanted = set(ids)
    if images is not None and images < len(ids):
        random = np.random.default_rng(derive_seed(seed, "images of a page"))
        wanted = {ids[i] for i in random.choice(len(ids), images, replace=False)}
    kind, labels = description.protocols[0].target, description.model.labels
    return [
        one
        for shard, names in sorted(shards.items())
        if wanted.intersection(names)
        for one in images_of_shard(run, shard, names, kind, labels)
        if one.id in wanted
    ]


def _classes(image: "Image") -> set[str]:
    return {label for by_class in image.maps.values() for label in by_class}


def _images(
    chosen: Sequence[RunImage],
    records: Mapping[str, Sequence[Record]],
    description: RunDescription,
    summary: Summary,
) -> "list[Image]":
    from xai.bench.results.page_images import page_image

    exclusions = defaultdict(list)
    for one in summary.exclusions:
        exclusions[one.image].append(one)
    return [
        page_image(one, records[one.id], description, exclusions[one.id])
        for one in chosen
        if one.id in records
    ]


def _records(store: Store, ids: set[str]) -> dict[str, list[Record]]:
    """Of these images, without those of the greedy order."""
    found: dict[str, list[Record]] = {}
    for table in store.tables([one.name for one in fields(Record)]):
        images, methods = table["image"].to_pylist(), table["method"].to_pylist()
        chosen = [i for i, name in enumerate(images) if name in ids and methods[i] != GREEDY]
        for cells in rows_of(table, np.array(chosen, np.int64)):
            found.setdefault(cells["image"], []).append(Record(**cells))
    return found


def _metrics(
    summary: Summary, records: Iterable[Record], description: RunDescription, painted: bool
) -> "list[PageMetric]":
    from xai.bench.results.page_metrics import page_metric

    fractions: dict[tuple[str, str], Sequence[float]] = {
        (one.metric, one.protocol_hash): next(iter(one.curves.values())).fractions
        for one in summary.parts
        if one.curves
    }
    for one in records:  # of curves that have no mean, since no image has all
        if one.fractions:
            fractions.setdefault((one.metric, one.protocol_hash), one.fractions)
    return [
        page_metric(
            result, fractions.get((result.metric, result.protocol_hash), ()), description.protocols, painted
        )
        for result in summary.parts
    ]


def _provenance(description: RunDescription, summary: Summary, drawn: int | None) -> dict[str, Any]:
    """The last session, and what of the settings holds for all of the run."""
    from xai.report.about import without_folders

    done, units = summary.units
    config = description.config.content
    chosen = ("explain", "statistics", "controls", "checks", "shard_size")
    session = {key: value for key, value in summary.provenance.items() if key != "model"}
    return to_json(
        without_folders(session)
        | {
            "run": {
                "units": f"{done} of {units}",
                "sessions": len(description.sessions),
                "began": description.sessions[0].start,
                "images": description.identity.get("data"),
            },
            "settings": {key: config[key] for key in chosen},
            "images_shown": "all" if drawn is None else f"drawn at random, seed {drawn}",
        }
    )
