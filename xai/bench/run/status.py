"""How far a run is, read from its folder."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from xai.bench.data.files import Folder, is_locked
from xai.bench.run.items import PRECISION
from xai.bench.run.store import Store, distinct_exclusions, read_run


@dataclass(frozen=True)
class Status:
    """What `xai benchmark status` shows.

    Args:
        name: Of the run.
        units: Work items of the plan.
        done: Work items that are done.
        images: Of the data.
        records: So far.
        exclusions: So far.
        forwards: Forward passes of perturbed images so far.
        seconds: Spent on the work items that are done.
        seconds_left: For the others, at the same speed; None before the first.
        running: Whether a process is writing the folder now.
        protocols: Name → (work items done, work items).
    """

    name: str
    units: int
    done: int
    images: int
    records: int
    exclusions: int
    forwards: int
    seconds: float
    seconds_left: float | None
    running: bool
    protocols: dict[str, tuple[int, int]]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def status(run: str | Folder) -> Status:
    """Look at a run, finished, running or killed.

    Raises:
        DataError: The folder holds no run.
    """
    description, store = read_run(run), Store(run)
    items, finished = store.planned_items(), store.keys()
    done = [item for item in items if item.key in finished]
    notes_of_items = [store.notes(item.key) for item in done]
    seconds = sum(notes.seconds for notes, _ in notes_of_items)
    ended, planned = (Counter(item.protocol for item in some) for some in (done, items))
    return Status(
        name=description.name,
        units=len(items),
        done=len(done),
        images=description.plan.images,
        records=sum(
            records
            for item, (_, records) in zip(done, notes_of_items, strict=True)
            if item.protocol != PRECISION
        ),
        exclusions=len(distinct_exclusions(notes for notes, _ in notes_of_items)),
        forwards=sum(notes.forwards for notes, _ in notes_of_items),
        seconds=seconds,
        seconds_left=seconds / len(done) * (len(items) - len(done)) if done else None,
        running=is_locked(store.folder),
        protocols={name: (ended[name], count) for name, count in planned.items()},
    )
