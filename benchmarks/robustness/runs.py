"""Copies of a finished run with something wrong in them, given to the commands that read runs."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.robustness.mutate import DEEP, broken_bytes, changed_tree, odd_value
from benchmarks.robustness.tables import odd_column
from benchmarks.robustness.valid import Valid


def make(rng: Random, valid: Valid, folder: Path) -> list[str]:
    """A changed run, and a command on it."""
    run = folder / "run"
    shutil.copytree(valid.run, run, ignore=shutil.ignore_patterns("pictures", "summary.*", ".lock"))
    for _ in range(rng.choice((1, 1, 2))):
        rng.choice(CHANGES)(rng, run)
    other = [str(run), str(valid.run)]
    if rng.random() < 0.5:
        other.reverse()
    suffix = rng.choice(("csv", "csv", "parquet"))
    commands = [
        ["benchmark", "summary", str(run)],
        ["benchmark", "status", str(run)],
        ["benchmark", "compare", *other],
        ["benchmark", "export", str(run), "--out", f"records.{suffix}"],
        ["report", str(run), "--out", "page.html"],
        ["report", str(run), "--data-only", "--out", "page.json"],
        ["benchmark", "run", str(valid.bench), "--out", str(run)],
    ]
    command = rng.choices(commands, (2, 2, 3, 3, 4, 2, 2))[0]
    return [*command, "--json"] if rng.random() < 0.2 and command[1] != "export" else command


def _files(run: Path, *endings: str) -> list[Path]:
    return sorted(path for path in run.rglob("*") if path.is_file() and path.name.endswith(endings))


def _json(rng: Random, run: Path) -> None:
    """One of the JSON files; mostly run.json, which says what the others mean."""
    path = rng.choice([run / "run.json"] * 4 + _files(run, ".json"))
    if not path.is_file():
        return
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):  # damaged by the change before this one
        return
    if rng.random() < 0.1:
        text = rng.choice(
            ("", "{}", "[]", "null", "7", "[" * rng.choice(DEEP), '{"a":' * rng.choice(DEEP), '{"plan": 1}')
        )
    else:
        changed = changed_tree(rng, content)
        try:
            text = json.dumps(changed, ensure_ascii=rng.random() < 0.5)
        except (RecursionError, ValueError):
            text = "[" * 5000
    path.write_text(text, "utf-8", "surrogatepass")


def _bytes(rng: Random, run: Path) -> None:
    path = rng.choice(_files(run, ""))
    path.write_bytes(broken_bytes(rng, path.read_bytes()))


def _gone(rng: Random, run: Path) -> None:
    """A file missing, empty, no file, under another's name, or one too many."""
    files = _files(run, ".parquet", ".json", ".safetensors", ".png", ".bin")
    if not files:
        return
    path, pick = rng.choice(files), rng.randrange(7)
    if pick == 0:
        path.unlink()
    elif pick == 1:
        path.write_bytes(b"")
    elif pick == 2:
        path.unlink()
        path.mkdir()
    elif pick == 3:
        path.unlink()
        path.symlink_to(path.name)
    elif pick == 4:
        path.write_bytes(rng.choice(files).read_bytes() if rng.choice(files).is_file() else b"")
    elif pick == 5:
        shutil.rmtree(path.parent)
        if rng.random() < 0.5:
            path.parent.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.write_bytes(b"x")
    else:
        (
            path.parent / rng.choice((".writing-x", f"x{path.suffix}", "ä.parquet", f" {path.name}"))
        ).write_bytes(path.read_bytes())


def _table(rng: Random, run: Path) -> None:
    """A Parquet file of the run with other cells, columns or notes."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    path = rng.choice(_files(run, ".parquet") or [run / "none"])
    try:
        table: Any = parquet.read_table(path)
    except Exception:  # damaged by the change before this one
        return
    names, pick = table.column_names, rng.randrange(8)
    name = rng.choice(names)
    at, length = names.index(name), table.num_rows
    if pick < 2:
        table = table.set_column(at, name, odd_column(rng, length))
    elif pick == 2:
        table = table.drop_columns([name])
    elif pick == 3:
        table = table.rename_columns(
            [rng.choice(("x", "image", "")) if one == name else one for one in names]
        )
    elif pick == 4:
        table = rng.choice(
            (table.slice(0, 0), table.slice(0, 1), pa.concat_tables([table, table]), table.slice(1))
        )
    elif pick == 5:
        notes = {key: _odd_note(rng, value) for key, value in (table.schema.metadata or {}).items()}
        table = table.replace_schema_metadata(rng.choice((None, notes, notes, notes)))
    else:
        table = table.set_column(at, table.schema.field(at), _other_values(rng, table.column(at)))
    buffer = io.BytesIO()
    try:
        parquet.write_table(table, buffer)
    except Exception:  # a table that Parquet cannot hold
        return
    path.write_bytes(buffer.getvalue())


def _odd_note(rng: Random, value: bytes) -> bytes:
    try:
        return json.dumps(changed_tree(rng, json.loads(value))).encode()
    except (ValueError, RecursionError):
        return broken_bytes(rng, value)


def _other_values(rng: Random, column: Any) -> Any:
    """The column's own type, other values where they fit."""
    import pyarrow as pa

    value = odd_value(rng)
    cells = column.to_pylist()
    for place in range(len(cells)):
        if rng.random() < 0.5:
            cells[place] = value
    try:
        return pa.array(cells, column.type)
    except (pa.ArrowException, OverflowError, TypeError, ValueError, UnicodeError):
        return pa.nulls(len(cells), column.type)


CHANGES: tuple[Callable[[Random, Path], None], ...] = (
    _json,
    _json,
    _json,
    _bytes,
    _bytes,
    _gone,
    _table,
    _table,
    _table,
)
