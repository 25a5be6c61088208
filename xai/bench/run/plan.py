"""From a configuration to work items with keys that say what each holds."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, overload

import numpy as np

from xai.bench.config.method_configurations import (
    MethodConfiguration,
    configured_controls,
    configured_methods,
    digest,
)
from xai.bench.config.reading import resolve_protocols
from xai.bench.config.schema import BenchmarkConfig
from xai.bench.config.survey import SurveyConfig
from xai.bench.data.files import Folder, in_threads
from xai.bench.data.shard_source import Each
from xai.bench.data.sources import ImageSource, open_source
from xai.bench.run.items import CHECKS, MAPS, MEASURED_DTYPE, PRECISION, SURVEY, WorkItem
from xai.core import ConfigError, derive_seed, nearest
from xai.core.runtime import number_makers
from xai.metrics import METRICS, greedy_forwards
from xai.metrics.protocol import Protocol
from xai.models import Classifier

MEASURED = 16  # images on which a run of lower precision is computed in full precision too
TAKES_NO_PART = {
    "name", "model", "data", "statistics", "batch_size", "shard_size", "keep_images", "device", "precision",
    "farthest"
}  # fmt: skip


class WorkItems(Sequence[WorkItem]):
    """The work items in the order of work: all protocols of one shard, then the next shard.

    None is kept: a billion images have millions of work items, and each follows from its number.

    Args:
        config: Of the run.
        source: The images.
        common: What all keys depend on.
        names: Protocol, or `maps` or `checks`, and what else its keys depend on.
        forwards: Forward passes by name and images.
        measured: Places of the images to be computed in full precision too, in order.
    """

    def __init__(
        self,
        config: BenchmarkConfig,
        source: ImageSource,
        common: Mapping[str, Any],
        names: Mapping[str, str],
        forwards: Callable[[str, range], int],
        measured: Sequence[int] = (),
    ):
        self._source, self._common, self._forwards = source, dict(common), forwards
        self._measured = tuple(measured)
        self.size, self._checked = config.shard_size, config.checks.images
        self._names = dict(names)

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-len(self._source) // self.size)

    def of(self, shard: int) -> list[WorkItem]:
        """The work items of one shard."""
        start, found = shard * self.size, []
        stop = min(start + self.size, len(self._source))
        for name, what in self._names.items():
            last = min(stop, self._checked) if name == CHECKS else stop
            if start < last:
                content = self._source.content(start, last)
                key = digest([self._common, name, what, start, content], 24)
                found.append(
                    WorkItem(key, shard, start, last, name, self._forwards(name, range(start, last)))
                )
        for place in self._measured[bisect_left(self._measured, start) : bisect_left(self._measured, stop)]:
            content = self._source.content(place, place + 1)
            key = digest([self._common, PRECISION, self._names, place, content], 24)
            forwards = self._forwards(PRECISION, range(place, place + 1))
            found.append(WorkItem(key, shard, place, place + 1, PRECISION, forwards))
        return found

    def __len__(self) -> int:
        return self._before(self.shards)

    def _before(self, shard: int) -> int:
        """How many work items the shards before one have."""
        each = len(self._names) - (CHECKS in self._names)
        measured = bisect_left(self._measured, shard * self.size)
        return shard * each + min(shard, self._with_checks) + measured

    def __iter__(self) -> Iterator[WorkItem]:
        return (item for shard in range(self.shards) for item in self.of(shard))

    @overload
    def __getitem__(self, index: int) -> WorkItem: ...
    @overload
    def __getitem__(self, index: slice) -> list[WorkItem]: ...
    def __getitem__(self, index: int | slice) -> WorkItem | list[WorkItem]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        shard = bisect_right(range(self.shards), place, key=self._before) - 1
        return self.of(shard)[place - self._before(shard)]

    @property
    def measured(self) -> int:
        """How many images are computed in full precision too."""
        return len(self._measured)

    @property
    def _with_checks(self) -> int:
        """How many shards, the first ones, have a work item of checks."""
        return min(self.shards, -(-self._checked // self.size)) if CHECKS in self._names else 0


@dataclass(frozen=True)
class Plan:
    """What a run consists of.

    Args:
        work_items: See `WorkItems`.
        source: The images.
        identity: What must stay the same for a run to go on, by part of the configuration.
    """

    work_items: WorkItems
    source: ImageSource
    identity: dict[str, Any]

    @property
    def forwards(self) -> int:
        """Forward passes of perturbed images, at most."""
        return sum(item.forwards for item in self.work_items)


def make_plan(
    config: BenchmarkConfig, classifier: Classifier, run: Folder | None = None, each: Each = in_threads
) -> Plan:
    """Divide the work into items; equal content gives equal keys on every machine.

    Args:
        config: Of the run.
        classifier: What is explained.
        run: Folder of the run, where it is kept what takes long to find out of the data.
        each: Reads many files at once.

    Raises:
        ConfigError: A wrong name in the configuration, or a malformed manifest.
        DataError: No image.
    """
    protocols = resolve_protocols(config)
    _check_protocols(protocols, classifier)
    source = open_source(config.data, run, each)
    configurations = configured_methods(config) + configured_controls(config)
    identity = _identity(config, classifier, protocols, configurations, source)
    common = {key: value for key, value in identity.items() if key not in ("data", "protocols")}
    names = {one.name: one.hash for one in protocols}
    if metrics_of(config, *MAP_NEEDS):
        names[MAPS] = protocols[0].target
    if config.checks.metrics and config.checks.images:
        names[CHECKS] = protocols[0].target
    if isinstance(config, SurveyConfig):
        _check_target(config.target, classifier.labels)
        names[SURVEY] = config.target

    @cache
    def forwards(name: str, images: int, greedy: int) -> int:
        return _forwards(config, classifier, protocols, name, len(configurations), images, greedy)

    def of_images(name: str, images: range) -> int:
        greedy = len(range(images.start, min(images.stop, config.controls.greedy_images)))
        return forwards(name, len(images), greedy)

    lower = config.precision == "bfloat16" and metrics_of(config, "perturbation")
    measured = measured_images(len(source), config.seed) if lower else ()
    return Plan(WorkItems(config, source, common, names, of_images, measured), source, identity)


def measured_images(images: int, seed: int) -> list[int]:
    """Places of the images on which the error of a lower precision is measured.

    One from each of `MEASURED` equal parts of the data, at random, so that data in the order of their labels
    or videos, or in turns, are all represented.
    """
    parts = min(images, MEASURED)
    draw = np.random.default_rng(derive_seed(seed, PRECISION)).integers
    return [int(draw(part * images // parts, (part + 1) * images // parts)) for part in range(parts)]


MAP_NEEDS = ("map", "mask", "clicks")
"""What metrics look at that need no further pass of the model."""


def metrics_of(config: BenchmarkConfig, *needs: str) -> list[str]:
    """The configured metrics that look at such things, in order."""
    return [name for name in (*config.metrics, *config.checks.metrics) if METRICS[name].needs in needs]


def device_of(config: BenchmarkConfig) -> str | None:
    """Where the configuration puts the model; None for where it is loaded."""
    return config.model.device or config.device


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What changed between two identities, in words."""
    return [_difference(key, before.get(key), now.get(key)) for key in now if before.get(key) != now[key]]


def _identity(
    config: BenchmarkConfig,
    classifier: Classifier,
    protocols: Sequence[Protocol],
    configurations: Sequence[MethodConfiguration],
    source: ImageSource,
) -> dict[str, Any]:
    settings = config.model_dump(mode="json", exclude=TAKES_NO_PART | {"methods", "protocols"})
    return settings | {
        "model": classifier.fingerprint,
        "autocast": MEASURED_DTYPE if config.precision == "bfloat16" else config.autocast,
        "methods": {configuration.name: configuration.hash for configuration in configurations},
        "protocols": {one.name: one.hash for one in protocols},
        "data": {"images": len(source), "digest": source.digest()},
        "shard_size": config.shard_size,
        "versions": number_makers(),
    }


def _check_protocols(protocols: Sequence[Protocol], classifier: Classifier) -> None:
    """Find out before the work that a model lacks what a protocol asks: its value, patches for its steps."""
    for one in protocols:
        one.check_head(classifier.problem_type)
        grid = classifier.grid
        if one.unit != "pixel" or classifier.input_size is not None:
            one.counts(one.units((grid.rows, grid.cols), classifier.input_size or (0, 0)))


def _check_target(target: str, labels: Sequence[str]) -> None:
    if target not in ("predicted", "label", *labels):
        raise ConfigError(
            f"target: {target!r} is no class of the model.", nearest(target, ["predicted", "label", *labels])
        )


def _difference(key: str, before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        changed = [
            f"{name}: {before.get(name, 'absent')} → {now.get(name, 'absent')}"
            for name in {**before, **now}
            if before.get(name) != now.get(name)
        ]
        return f"{key} ({', '.join(changed)})"
    return f"{key} ({before} → {now})"


def _forwards(
    config: BenchmarkConfig,
    classifier: Classifier,
    protocols: Sequence[Protocol],
    name: str,
    methods: int,
    images: int,
    searched: int,
) -> int:
    """Of the maps of so many methods and images, and of the greedy order of so many images."""
    if name == PRECISION:
        return sum(
            _forwards(config, classifier, protocols, one.name, methods, images, 0) for one in protocols
        )
    found = next((one for one in protocols if one.name == name), None)
    needs = {MAPS: MAP_NEEDS, CHECKS: ("class", "method")}.get(name, ("perturbation",))
    patches = classifier.grid.patches
    metrics = metrics_of(config, *needs)
    each = sum(METRICS[metric].forwards(patches, found) for metric in metrics)
    if found is None or not metrics:
        return each * methods * images
    operator = found.operator
    searched = 0 if operator.passes > 1 else searched
    states = each * (methods * images + searched) + greedy_forwards() * searched
    return states * operator.passes + operator.image_passes * images
