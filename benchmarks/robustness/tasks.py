"""Commands that write results, and what their folders hold: for kills, two at once, a full disk."""

import gzip
import hashlib
import json
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from benchmarks.robustness.valid import METHOD, Valid

COST = ("seconds", "peak_bytes")
"""Columns and keys that are measured, so that no two runs are alike in them."""
CHANGES = ("run.json", "summary.json", "summary.md", ".svg")
"""Ends of the names of files that hold measured times or drawn ids: they must be whole, no more."""


PACKED = re.compile(rb"H4sI[A-Za-z0-9+/=]+")
"""Content of a page: gzip as base64."""
MEASURED = re.compile(
    rb'"(?:created|seconds|start|end)":(?:"[^"]*"|[\d.e+-]+)|\d{4}-\d\d-\d\dT[\d:.+Z-]+|sha256-[\w+/=]+'
)
"""What differs between two equal pages: times, and checksums of what holds them."""


@dataclass(frozen=True)
class Task:
    """A command that writes below a folder.

    Args:
        name: Of the command.
        arguments: Folder for results → the command's arguments.
        prepare: Puts into that folder what must be there before.
    """

    name: str
    arguments: Callable[[Path], list[str]]
    prepare: Callable[[Path], None] = field(default=lambda place: None)


def tasks(valid: Valid) -> dict[str, Task]:
    """By name."""
    model = ["--config", str(valid.detector)]

    def copied(place: Path) -> None:
        import shutil

        shutil.copytree(
            valid.run, place / "run", ignore=shutil.ignore_patterns("pictures", "summary.*", ".lock")
        )

    made = [
        Task(
            "explain",
            lambda place: [
                "explain",
                str(valid.photos),
                *model,
                *METHOD,
                "--out",
                str(place / "out"),
                "--report",
            ],
        ),
        Task("benchmark", lambda place: ["benchmark", "run", str(valid.bench), "--out", str(place / "run")]),
        Task(
            "forge",
            lambda place: [
                "forge",
                str(valid.photos),
                "--size",
                "32",
                "--count",
                "18",
                "--out",
                str(place / "out"),
            ],
        ),
        Task("report", lambda place: ["report", str(valid.run), "--out", str(place / "page.html")]),
        Task(
            "tune",
            lambda place: ["tune", str(valid.bench), "--out", str(place / "tuned.yaml"), "--folds", "2"],
        ),
        Task("summary", lambda place: ["benchmark", "summary", str(place / "run")], copied),
        Task(
            "export",
            lambda place: ["benchmark", "export", str(valid.run), "--out", str(place / "records.parquet")],
        ),
    ]
    return {task.name: task for task in made}


def visible(place: Path) -> list[Path]:
    """Files under their final names."""
    return sorted(path for path in place.rglob("*") if path.is_file() and not _hidden(path, place))


def hidden(place: Path) -> list[str]:
    """Temporary files; a run's lock is none, it stays."""
    return sorted(
        path.name
        for path in place.rglob("*")
        if path.is_file() and _hidden(path, place) and path.name != ".lock"
    )


def _hidden(path: Path, place: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(place).parts)


def meaning(path: Path) -> Any:
    """What a file says beside what is measured; raises if it is not whole."""
    content = path.read_bytes()
    if path.suffix == ".json":
        return _without_cost(json.loads(content))
    if path.suffix == ".parquet":
        return _table(content)
    if path.suffix == ".png":
        from PIL import Image

        with Image.open(BytesIO(content)) as image:
            image.load()
    elif path.suffix == ".html":
        _must(content.rstrip().endswith(b"</html>"))
        content = MEASURED.sub(b"", PACKED.sub(_unpacked, content))
    elif path.suffix == ".svg":
        _must(content.rstrip().endswith(b"</svg>"))
    elif path.suffix == ".safetensors":
        return _tensors(content)
    _must(bool(content))
    return hashlib.sha256(content).hexdigest()


def _tensors(content: bytes) -> Any:
    """Values by name, without what was measured while they were made."""
    from safetensors.numpy import load

    kept = {name: values for name, values in load(content).items() if name not in COST}
    return {
        name: (values.shape, hashlib.sha256(values.tobytes()).hexdigest()) for name, values in kept.items()
    }


def _unpacked(found: re.Match[bytes]) -> bytes:
    return gzip.decompress(b64decode(found[0]))


def _must(whole: bool) -> None:
    if not whole:
        raise ValueError("cut off")


def _without_cost(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _without_cost(value) for key, value in content.items() if key not in COST}
    return [_without_cost(value) for value in content] if isinstance(content, list) else content


def _table(content: bytes) -> Any:
    """Rows in order, and the notes, as text: equal where the tables are, NaN included."""
    import pyarrow.parquet as parquet

    table = parquet.read_table(BytesIO(content))
    notes = {key: _note(value) for key, value in (table.schema.metadata or {}).items()}
    kept = table.drop_columns([name for name in COST if name in table.column_names])
    return repr(kept.to_pylist()), repr(notes)


def _note(value: bytes) -> Any:
    try:
        return _without_cost(json.loads(value))
    except ValueError:
        return value


def meanings(place: Path) -> dict[str, Any]:
    """Name → meaning of each visible file; 'broken' with the reason where one is not whole."""
    found = {}
    for path in visible(place):
        name = path.relative_to(place).as_posix()
        try:
            said = meaning(path)
        except Exception as error:  # whatever its reader says of half a file
            said = f"broken: {type(error).__name__}"
        found[name] = "whole" if path.name.endswith(CHANGES) and not str(said).startswith("broken") else said
    return found


def keys(place: Path) -> Counter:
    """Records of a run, or files of other commands: how often each is there."""
    run = place / "run"
    if not (run / "parts").is_dir():
        return Counter(path.relative_to(place).as_posix() for path in visible(place))
    import pyarrow.parquet as parquet

    found: Counter = Counter()
    for part in sorted((run / "parts").glob("*.parquet")):
        rows = parquet.read_table(part, columns=["image", "method", "metric", "protocol"]).to_pylist()
        found.update(tuple(row.values()) for row in rows)
    return found
