"""How far a run is, read from its folder."""

from dataclasses import asdict, dataclass
from typing import Any

from xai.bench.data.files import is_locked
from xai.bench.data.remote import Folder
from xai.bench.run.store import Store, read_run


@dataclass(frozen=True)
class Status:
    """What `xai benchmark status` shows.

    Args:
        name: Of the run.
        units: Units of the plan.
        done: Units that are done.
        images: Of the data.
        records: So far.
        exclusions: So far.
        forwards: Forward passes of perturbed images so far.
        seconds: Spent on the units that are done.
        seconds_left: For the others, at the same speed; None before the first.
        running: Whether a process is writing the folder now.
        protocols: Name → (units done, units).
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
    about, store = read_run(run), Store(run)
    units = store.planned_items()
    finished = store.keys()
    done = [unit for unit in units if unit["key"] in finished]
    parts = [store.about(unit["key"]) for unit in done]
    seconds = sum(part["seconds"] for part in parts)
    protocols = {
        name: (
            sum(unit["protocol"] == name for unit in done),
            sum(unit["protocol"] == name for unit in units),
        )
        for name in dict.fromkeys(unit["protocol"] for unit in units)
    }
    return Status(
        name=about["name"],
        units=len(units),
        done=len(done),
        images=about["plan"]["images"],
        records=sum(part["records"] for part in parts),
        exclusions=len({tuple(one.values()) for part in parts for one in part["exclusions"]}),
        forwards=sum(part["forwards"] for part in parts),
        seconds=seconds,
        seconds_left=seconds / len(done) * (len(units) - len(done)) if done else None,
        running=is_locked(store.folder),
        protocols=protocols,
    )
