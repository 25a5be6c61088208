"""From a configuration to units of work with keys that say what each holds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from xai.bench.config import BenchmarkConfig
from xai.bench.names import resolve_protocols
from xai.bench.rows import Row, control_rows, digest, method_rows
from xai.bench.sources import digests, list_entries
from xai.bench.versions import DECISIVE, versions
from xai.data.lazy import Entry
from xai.metrics import METRICS, greedy_forwards
from xai.metrics.protocol import Protocol
from xai.models import Classifier

MAPS, CHECKS = "maps", "checks"  # stand where the others have a protocol's name
TAKES_NO_PART = {"name", "model", "data", "statistics", "batch_size", "shard_size", "device"}


@dataclass(frozen=True)
class Unit:
    """One shard of images × all methods × one protocol; batches never cross it.

    Args:
        key: Digest of all that its records depend on.
        shard: Number of the shard.
        start: First image, by its place in the data.
        stop: One past the last image.
        protocol: Name, or `maps` or `checks`.
        forwards: Forward passes of perturbed images, at most.
    """

    key: str
    shard: int
    start: int
    stop: int
    protocol: str
    forwards: int

    @property
    def images(self) -> range:
        """Places in the data."""
        return range(self.start, self.stop)


@dataclass(frozen=True)
class Plan:
    """What a run consists of.

    Args:
        units: In the order of work: all protocols of one shard, then the next shard.
        entries: The images.
        identity: What must stay the same for a run to go on, by part of the configuration.
    """

    units: tuple[Unit, ...]
    entries: tuple[Entry, ...]
    identity: dict[str, Any]

    @property
    def forwards(self) -> int:
        """Forward passes of perturbed images, at most."""
        return sum(unit.forwards for unit in self.units)


def make_plan(config: BenchmarkConfig, classifier: Classifier) -> Plan:
    """Divide the work into units; equal content gives equal keys on every machine.

    Raises:
        ConfigError: A wrong name in the configuration, or a malformed manifest.
        DataError: No image.
    """
    protocols = resolve_protocols(config)
    _check_steps(protocols, classifier)
    entries = list_entries(config.data)
    content = digests(config.data, entries)
    rows = method_rows(config) + control_rows(config)
    identity = _identity(config, classifier, protocols, rows, content)
    common = {key: value for key, value in identity.items() if key not in ("data", "protocols")}
    names = {one.name: one.hash for one in protocols}
    if metrics_of(config, "map", "mask"):
        names[MAPS] = protocols[0].target
    if config.checks.metrics and config.checks.images:
        names[CHECKS] = protocols[0].target
    units = []
    for shard, start in enumerate(range(0, len(entries), config.shard_size)):
        stop = min(start + config.shard_size, len(entries))
        for name, what in names.items():
            last = min(stop, config.checks.images) if name == CHECKS else stop
            if start < last:
                key = digest([common, name, what, start, content[start:last]], 24)
                forwards = _forwards(config, classifier, protocols, name, rows, range(start, last))
                units.append(Unit(key, shard, start, last, name, forwards))
    return Plan(tuple(units), tuple(entries), identity)


def metrics_of(config: BenchmarkConfig, *needs: str) -> list[str]:
    """The configured metrics that look at such things, in order."""
    return [name for name in (*config.metrics, *config.checks.metrics) if METRICS[name].needs in needs]


def autocast_of(config: BenchmarkConfig, classifier: Classifier) -> str | None:
    """The type of the perturbed forwards, None for the model's own; only GPUs compute in another."""
    return config.autocast if classifier.device.type == "cuda" else None


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What changed between two identities, in words."""
    return [_difference(key, before.get(key), now.get(key)) for key in now if before.get(key) != now[key]]


def _identity(
    config: BenchmarkConfig,
    classifier: Classifier,
    protocols: Sequence[Protocol],
    rows: Sequence[Row],
    content: Sequence[str],
) -> dict[str, Any]:
    said = config.model_dump(mode="json", exclude=TAKES_NO_PART | {"methods", "protocols"})
    return said | {
        "model": classifier.fingerprint,
        "autocast": autocast_of(config, classifier),
        "methods": {row.name: row.hash for row in rows},
        "protocols": {one.name: one.hash for one in protocols},
        "data": {"images": len(content), "digest": digest(list(content), 24)},
        "shard_size": config.shard_size,
        "versions": {name: number for name, number in versions().items() if name in DECISIVE},
    }


def _check_steps(protocols: Sequence[Protocol], classifier: Classifier) -> None:
    """Find out before the work that a model has too few patches for a protocol's steps."""
    for one in protocols:
        grid = classifier.grid
        units = (grid.rows, grid.cols) if one.unit == "patch" else classifier.input_size
        if units is not None:
            one.counts(units)


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
    rows: Sequence[Row],
    images: range,
) -> int:
    found = next((one for one in protocols if one.name == name), None)
    needs = {MAPS: ("map", "mask"), CHECKS: ("class", "method")}.get(name, ("perturbation",))
    patches = classifier.grid.patches
    metrics = metrics_of(config, *needs)
    each = sum(METRICS[metric].forwards(patches, found) for metric in metrics)
    greedy = range(images.start, min(images.stop, config.controls.greedy_images))
    searched = (greedy_forwards() + each) * len(greedy) if found is not None and metrics else 0
    return each * len(rows) * len(images) + searched


def describe_plan(plan: Plan) -> dict[str, Any]:
    """The units, JSON-ready."""
    return {"images": len(plan.entries), "units": [asdict(unit) for unit in plan.units]}
