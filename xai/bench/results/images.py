"""What a run's folder holds of single images: snapshots and maps, laid beside each other again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from xai.bench.run.description import AGAIN
from xai.bench.run.image_snapshots import ImageSnapshot, read_snapshots, snapshots_path
from xai.bench.run.items import MAPS_NAME
from xai.bench.run.store import Store
from xai.core import DataError


@dataclass(frozen=True, eq=False)
class RunImage:
    """One image of a run.

    Args:
        id: Sample id.
        target: Class index that the maps are of; None where it is not known.
        snapshot: Picture, geometry and answer; None where the run did not keep them.
        maps: Name of a method configuration → (rows, cols) relevance; without those that failed.
    """

    id: str
    target: int | None
    snapshot: ImageSnapshot | None
    maps: Mapping[str, np.ndarray]


def images_by_shard(store: Store) -> dict[int, list[str]]:
    """Shard → ids of its images that have records, in the order of the records."""
    found: dict[int, dict[str, None]] = {}
    done = store.keys()
    for item in store.planned_items():
        if item.key in done:
            found.setdefault(item.shard or 0, {}).update(dict.fromkeys(store.images(item.key)))
    return {shard: list(ids) for shard, ids in found.items()}


def images_of_shard(
    run: Path, shard: int, recorded: Sequence[str], kind: str, labels: Sequence[str]
) -> Iterator[RunImage]:
    """The images of a shard with the maps of the classes that protocols of this kind follow.

    Args:
        run: The folder.
        shard: Number.
        recorded: Images that have records, in their order: all that is known where there are no snapshots.
        kind: "predicted" or "label".
        labels: Class names of the model.

    Raises:
        DataError: The snapshots are of a model with other classes.
    """
    snapshots = read_snapshots(snapshots_path(run, shard))
    tensors = _tensors(run / "maps" / f"{shard:05d}-{kind}.safetensors")
    if snapshots is not None and any(len(one.logits) != len(labels) for one in snapshots):
        raise DataError(
            f"{snapshots_path(run, shard)} does not fit the run: answers of another number of classes than "
            f"{len(labels)}.",
            AGAIN,
        )
    if snapshots is None:
        yield from _without_snapshots(recorded, tensors)
        return
    mapped: dict[tuple[int, int], list[ImageSnapshot]] = {}
    for one in snapshots:
        if target_of(one, kind, labels) is not None:
            mapped.setdefault(one.input_size, []).append(one)
    places = {one.id: (group, i) for group, same in enumerate(mapped.values()) for i, one in enumerate(same)}
    sizes = [len(same) for same in mapped.values()]
    for one in snapshots:
        maps = _maps_at(tensors, sizes, *places[one.id]) if one.id in places else {}
        yield RunImage(one.id, target_of(one, kind, labels), one, maps)


def target_of(snapshot: ImageSnapshot, kind: str, labels: Sequence[str]) -> int | None:
    """The class that protocols of this kind follow; None where the label is not known to the model."""
    if kind == "predicted":
        return int(np.argmax(snapshot.logits))
    return labels.index(snapshot.label) if snapshot.label in labels else None


def _without_snapshots(recorded: Sequence[str], tensors: Mapping[str, np.ndarray]) -> Iterator[RunImage]:
    """Maps can be told apart only if none failed, and they are of one shape and as many as the images."""
    whole = all(np.isfinite(values).all() for values in tensors.values())
    sizes = [len(recorded)] if whole else []
    for place, name in enumerate(recorded):
        yield RunImage(name, None, None, _maps_at(tensors, sizes, 0, place))


def _maps_at(
    tensors: Mapping[str, np.ndarray], sizes: Sequence[int], group: int, place: int
) -> dict[str, np.ndarray]:
    """Maps of one image by method configuration; none where the file does not fit the images."""
    found = {}
    for name, values in tensors.items():
        method, _, number = name.rpartition("/")
        if int(number) >= len(sizes) or len(values) != sizes[int(number)]:
            return {}
        if int(number) == group and np.isfinite(values[place]).all():
            found[method] = values[place]
    return found


def _tensors(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        return {}
    try:
        with safe_open(path, "numpy") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, TypeError):  # the last for a type that numpy lacks
        return {}
    whole = all(
        MAPS_NAME.fullmatch(name) and values.ndim == 3 and values.size and values.dtype == np.float32
        for name, values in found.items()
    )
    return found if whole else {}
