"""What every unit of a run needs: model, images, methods; made where it is needed, never sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

from xai.bench.config.method_configurations import (
    MethodConfiguration,
    configured_controls,
    configured_methods,
)
from xai.bench.config.reading import import_code, resolve_protocols
from xai.bench.config.schema import BenchmarkConfig
from xai.bench.data.files import Folder
from xai.bench.data.sources import ImageSource, open_source
from xai.bench.run.batches import Batches
from xai.bench.run.image_snapshots import snapshots_are_whole, snapshots_path, write_snapshots
from xai.bench.run.inputs import InputImage, read_inputs
from xai.bench.run.maps import ShardMaps, cached_maps, make_maps, maps_key
from xai.bench.run.plan import device_of
from xai.bench.run.snapshot_maker import snapshot_maker
from xai.data.samples import Entry
from xai.metrics.protocol import Protocol
from xai.models import Classifier, load
from xai.perturb import Stream
from xai.stats import Exclusion

_PLAIN = ("config", "folder", "given", "plans", "trust_code")


@dataclass
class RunContext:
    """The settings of a run, and what is made of them on the machine that works.

    Sent to another process, it carries its settings alone and makes the rest anew.

    Args:
        config: Of the run.
        folder: Of the run: maps and views are kept in it.
        given: The model, if it is not to be loaded as the configuration says.
        plans: Only to plan for workers on other devices: the model is held on the CPU.
        trust_code: Whether code may run that the configuration or the model's YAML names, here and where
            this is sent.
        chosen: What `precision: auto` came to, for the run's file.
    """

    config: BenchmarkConfig
    folder: Folder | None = None
    given: Classifier | None = None
    plans: bool = False
    trust_code: bool = False
    chosen: Mapping[str, Any] = field(default_factory=dict)
    _shard: tuple[int, tuple[list[InputImage], list[Exclusion]]] | None = field(
        default=None, init=False, repr=False
    )

    _maps: tuple[str, ShardMaps] | None = field(default=None, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _PLAIN} | {"_shard": None, "_maps": None}

    def import_code(self) -> None:
        """Import what the configuration names as `package.module:Class`, in each process before all else.

        Raises:
            ConfigError: It is not trusted, or cannot be imported.
        """
        import_code(self.config, self.trust_code)

    @cached_property
    def classifier(self) -> Classifier:
        """The model."""
        if self.given is not None:
            return self.given
        model = self.config.model
        device = "cpu" if self.plans else device_of(self.config)
        return load(
            str(model.config or model.spec),
            model.labels,
            device=device,
            weights=model.weights,
            dtype=model.dtype or self.config.dtype,
            prompts=model.prompts,
            problem_type=model.problem_type,
            trust_code=self.trust_code,
            grid=model.grid,
        )

    @cached_property
    def source(self) -> ImageSource:
        """The images; who has them listed already sets them here."""
        return open_source(self.config.data, self.folder)

    @cached_property
    def protocols(self) -> dict[str, Protocol]:
        """By name, in order."""
        return {one.name: one for one in resolve_protocols(self.config)}

    @cached_property
    def configurations(self) -> list[MethodConfiguration]:
        """Methods, then controls."""
        return configured_methods(self.config) + configured_controls(self.config)

    @cached_property
    def stream(self) -> Stream:
        """Of perturbed images; a batch size that was halved stays halved."""
        name = self.config.stream_dtype
        return self._stream(None if name is None else getattr(torch, name))

    @cached_property
    def exact_stream(self) -> Stream:
        """The same in the model's own precision."""
        return self._stream(None)

    def _stream(self, autocast: torch.dtype | None) -> Stream:
        config = self.config
        return Stream(self.classifier, batch_size=config.batch_size, autocast=autocast, seed=config.seed)

    @cached_property
    def batches(self) -> Batches:
        """Of images to explain."""
        return Batches(self.config.batch_size)

    def images(self, shard: int) -> tuple[list[InputImage], list[Exclusion]]:
        """A shard's images as the model takes them; those of the last shard are kept."""
        if self._shard is None or self._shard[0] != shard:
            start = shard * self.config.shard_size
            stop = min(start + self.config.shard_size, len(self.source))
            self._shard = None  # two shards at once would be twice the memory
            self._shard = (
                shard,
                self._prepare(shard, list(enumerate(self.source.entries(start, stop), start))),
            )
        return self._shard[1]

    def _prepare(
        self, shard: int, entries: Sequence[tuple[int, Entry]]
    ) -> tuple[list[InputImage], list[Exclusion]]:
        """Images of a shard; their views are kept, where they are not there yet."""
        place = self._folder_of(shard)
        if place is None or self.has_snapshots(shard):
            return read_inputs(self.classifier, entries, self.batches)
        take_snapshot = snapshot_maker(self.classifier, self.protocols.values(), self.config.seed)
        images, excluded = read_inputs(self.classifier, entries, self.batches, take_snapshot)
        write_snapshots(snapshots_path(place, shard), [one.view for one in images if one.view is not None])
        # all that is left of them is in the file
        return [replace(one, view=None) for one in images], excluded

    def has_snapshots(self, shard: int) -> bool:
        """Whether the run's folder has what a page shows of a shard's images, or need not have it."""
        place = self._folder_of(shard)
        return place is None or snapshots_are_whole(snapshots_path(place, shard))

    def _folder_of(self, shard: int) -> Folder | None:
        """Where maps and views of a shard are kept; None where they are not."""
        most = self.config.keep_images
        return self.folder if most is None or shard * self.config.shard_size < most else None

    def targets(
        self, images: Sequence[InputImage], kind: str, protocol: str
    ) -> tuple[list[InputImage], list[int], list[Exclusion]]:
        """The images whose class is known, that class, and the others as exclusions.

        Args:
            images: Of a shard.
            kind: `predicted`, `label`, or the name of a class.
            protocol: For the exclusions.
        """
        if kind == "predicted":
            return list(images), [int(one.logits.argmax()) for one in images], []
        labels = self.classifier.labels
        if kind != "label":
            return list(images), [labels.index(kind)] * len(images), []
        known = [one for one in images if one.label in labels]
        excluded = [
            Exclusion(one.id, "*", protocol, _no_class(one.label, labels))
            for one in images
            if one.label not in labels
        ]
        return known, [labels.index(str(one.label)) for one in known], excluded

    def maps(self, shard: int, images: Sequence[InputImage], targets: Sequence[int], kind: str) -> ShardMaps:
        """Maps of all methods, from the run's folder where they are there; else those of the last shard."""

        def make() -> ShardMaps:
            margin = self.config.explain == "margin"
            return make_maps(
                self.classifier, self.configurations, images, targets, margin, self.batches, strict=shard == 0
            )

        place, key = self._folder_of(shard), maps_key(self.classifier, self.configurations, images, targets)
        if place is not None:
            return cached_maps(place / "maps" / f"{shard:05d}-{kind}.safetensors", key, make)
        if self._maps is None or self._maps[0] != key:
            self._maps = key, make()
        return self._maps[1]


def _no_class(label: str | None, labels: Sequence[str]) -> str:
    if label is None:
        return "no label, and the protocol follows the label's class"
    return f"the label {label!r} is none of the model's classes ({', '.join(labels)})"
