"""What every unit of a run needs: model, images, methods; made where it is needed, never sent."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from xai.bench.config import BenchmarkConfig
from xai.bench.maps import Maps, explain, kept, maps_key
from xai.bench.memory import Batches
from xai.bench.names import resolve_protocols
from xai.bench.plan import autocast_of
from xai.bench.prepared import Exclusion, Prepared, prepare
from xai.bench.rows import Row, control_rows, method_rows
from xai.bench.sources import list_entries
from xai.bench.views import looker, read_views, views_path, write_views
from xai.data.lazy import Entry
from xai.metrics.protocol import Protocol
from xai.models import Classifier, load
from xai.perturb import Stream

_PLAIN = ("config", "folder", "given")


@dataclass
class Context:
    """The settings of a run, and what is made of them on the machine that works.

    Sent to another process, it carries its settings alone and makes the rest anew.

    Args:
        config: Of the run.
        folder: Of the run: maps and views are kept in it.
        given: The model, if it is not to be loaded as the configuration says.
    """

    config: BenchmarkConfig
    folder: Path | None = None
    given: Classifier | None = None
    _shard: tuple[int, tuple[list[Prepared], list[Exclusion]]] | None = field(
        default=None, init=False, repr=False
    )

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _PLAIN} | {"_shard": None}

    @cached_property
    def classifier(self) -> Classifier:
        """The model."""
        if self.given is not None:
            return self.given
        model = self.config.model
        device = model.device or self.config.device
        return load(
            str(model.config or model.spec),
            model.labels,
            device=device,
            weights=model.weights,
            dtype=model.dtype or self.config.dtype,
            prompts=model.prompts,
        )

    @cached_property
    def entries(self) -> Sequence[Entry]:
        """The images, by name."""
        return list_entries(self.config.data)

    @cached_property
    def protocols(self) -> dict[str, Protocol]:
        """By name, in order."""
        return {one.name: one for one in resolve_protocols(self.config)}

    @cached_property
    def rows(self) -> list[Row]:
        """Methods, then controls."""
        return method_rows(self.config) + control_rows(self.config)

    @cached_property
    def stream(self) -> Stream:
        """Of perturbed images; a batch size that was halved stays halved."""
        said = autocast_of(self.config, self.classifier)
        autocast = None if said is None else getattr(torch, said)
        return Stream(
            self.classifier, batch_size=self.config.batch_size, autocast=autocast, seed=self.config.seed
        )

    @cached_property
    def batches(self) -> Batches:
        """Of images to explain."""
        return Batches(self.config.batch_size)

    def images(self, shard: int) -> tuple[list[Prepared], list[Exclusion]]:
        """A shard's images as the model takes them; those of the last shard are kept."""
        if self._shard is None or self._shard[0] != shard:
            start = shard * self.config.shard_size
            stop = min(start + self.config.shard_size, len(self.entries))
            entries = [(index, self.entries[index]) for index in range(start, stop)]
            self._shard = shard, self._prepare(shard, entries)
        return self._shard[1]

    def _prepare(
        self, shard: int, entries: Sequence[tuple[int, Entry]]
    ) -> tuple[list[Prepared], list[Exclusion]]:
        """Images of a shard; their views are kept, where they are not there yet."""
        if self.folder is None or self.has_views(shard):
            return prepare(self.classifier, entries, self.batches)
        look = looker(self.classifier, self.protocols.values(), self.config.seed)
        images, excluded = prepare(self.classifier, entries, self.batches, look)
        write_views(views_path(self.folder, shard), [one.view for one in images if one.view is not None])
        # all that is left of them is in the file
        return [replace(one, view=None) for one in images], excluded

    def has_views(self, shard: int) -> bool:
        """Whether the run's folder has what a page shows of a shard's images."""
        return self.folder is not None and read_views(views_path(self.folder, shard)) is not None

    def targets(
        self, images: Sequence[Prepared], kind: str, protocol: str
    ) -> tuple[list[Prepared], list[int], list[Exclusion]]:
        """The images whose class is known, that class, and the others as exclusions."""
        if kind == "predicted":
            return list(images), [int(one.logits.argmax()) for one in images], []
        labels = self.classifier.labels
        known = [one for one in images if one.label in labels]
        excluded = [
            Exclusion(one.id, "*", protocol, _no_class(one.label, labels))
            for one in images
            if one.label not in labels
        ]
        return known, [labels.index(str(one.label)) for one in known], excluded

    def maps(self, shard: int, images: Sequence[Prepared], targets: Sequence[int], kind: str) -> Maps:
        """Maps of all rows, read from the run's folder where they are there."""

        def make() -> Maps:
            margin = self.config.explain == "margin"
            return explain(
                self.classifier, self.rows, images, targets, margin, self.batches, strict=shard == 0
            )

        path = None
        if self.folder is not None:
            path = self.folder / "maps" / f"{shard:05d}-{kind}.safetensors"
        return kept(path, maps_key(self.classifier, self.rows, images, targets), make)


def _no_class(label: str | None, labels: Sequence[str]) -> str:
    if label is None:
        return "no label, and the protocol follows the label's class"
    return f"the label {label!r} is none of the model's classes ({', '.join(labels)})"
