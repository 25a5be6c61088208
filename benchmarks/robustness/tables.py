"""Hostile and broken tables: manifests (CSV, Parquet) and boxes."""

import csv
import io
from pathlib import Path
from random import Random
from typing import Any

import yaml

from benchmarks.robustness.mutate import DEEP, NAMES, broken_bytes, misspelt, odd_value
from benchmarks.robustness.valid import LARGE, METHOD, SMALL, Valid, manifest_rows

COLUMNS = ("path", "label", "mask", "group", "kind")


def manifest(rng: Random, valid: Valid, folder: Path) -> list[str]:
    """A manifest: asked what its benchmark would cost, or run."""
    rows: list[dict[str, Any]] = [dict(row) for row in manifest_rows(valid.photos)]
    if rng.random() < 0.3:  # images of its own, of which links and folders may be made
        _special_files(rng, rows, folder)
    path = folder / ("m.parquet" if rng.random() < 0.35 else "m.csv")
    path.write_bytes(parquet_bytes(rng, rows) if path.suffix == ".parquet" else csv_bytes(rng, rows))
    if rng.random() < 0.25:
        path.write_bytes(broken_bytes(rng, path.read_bytes()))
    small = rng.random() < 0.6
    config = {"name": "b", "model": {"config": str(valid.detector)}, "data": {"manifest": str(path)}}
    config |= SMALL if small else LARGE
    if rng.random() < 0.3:
        config |= {"protocols": [{"base": "vit-token", "name": "t2", "steps": 2, "target": "label"}]}
    (folder / "b.yaml").write_text(yaml.safe_dump(config))
    if small and rng.random() < 0.3:
        return ["benchmark", "run", str(folder / "b.yaml"), "--out", "run"]
    return ["benchmark", "run", str(folder / "b.yaml"), "--dry-run"]


def boxes(rng: Random, valid: Valid, folder: Path) -> list[str]:
    """A table of boxes for two images, or the option that names one."""
    images = [str(valid.photos / f"{number}.png") for number in range(2)]
    common = ["--config", str(valid.detector), *METHOD, "--out", "out"]
    if rng.random() < 0.15:
        return ["explain", images[0], *common, f"--box={_odd_box(rng)}"]
    rows: list[dict[str, Any]] = [{"image": one, "x": "2", "y": "3", "w": "20", "h": "16"} for one in images]
    path = folder / "boxes.csv"
    content = csv_bytes(rng, rows)
    path.write_bytes(broken_bytes(rng, content) if rng.random() < 0.2 else content)
    return ["explain", *images, *common, "--boxes", str(path)]


def _odd_box(rng: Random) -> str:
    sides = [
        rng.choice(
            ("0", "1", "5", "-1", "1e9", "1e400", "nan", "inf", "x", "", " 3", "3.7", "９", "1_0", "0x5")
        )
        for _ in range(rng.choice((4, 4, 4, 3, 5, 1)))
    ]
    return rng.choice((",", ",", ",", ";", ", ", " ")).join(sides)


def _special_files(rng: Random, rows: list[dict[str, Any]], folder: Path) -> None:
    """The first row names something that is no plain file."""
    path = folder / rng.choice(("loop.png", "x y.png", "ä.png", "a;b.png", "broken.png"))
    pick = rng.randrange(5)
    if pick == 0:
        path.symlink_to(path.name)
    elif pick == 1:
        path.mkdir()
    elif pick == 2:
        path.write_bytes(b"no image")
    elif pick == 3:
        path.symlink_to(rows[0]["path"])
    else:
        path.write_bytes(broken_bytes(rng, Path(rows[0]["path"]).read_bytes()))
    rows[0][rng.choice(("path", "path", "mask"))] = rng.choice((path.name, str(path)))


def _changed_rows(rng: Random, rows: list[dict[str, Any]], value) -> list[dict[str, Any]]:
    """Cells, columns and rows changed."""
    columns = list(rows[0])
    for _ in range(rng.choice((1, 1, 2, 4))):
        how, row, column = rng.randrange(9), rng.choice(rows), rng.choice(columns)
        if how < 4:
            row[column] = value(rng)
        elif how == 4:
            for one in rows:
                one.pop(column, None)
        elif how == 5:
            name = rng.choice((misspelt(rng, column), rng.choice(NAMES), ""))
            rows = [{(name if key == column else key): cell for key, cell in one.items()} for one in rows]
        elif how == 6:
            rows.append(dict(row))
        elif how == 7:
            rows = rng.choice(([], rows[:1], rows * 3, rows))
        else:
            for one in rows:
                one[column] = rng.choice(("", None, "x", value(rng)))
        if not rows or not rows[0]:
            break
        columns = list(rows[0])
    return rows


def _cell(rng: Random) -> str:
    pick = rng.random()
    if pick < 0.6:
        return rng.choice(NAMES)
    return str(odd_value(rng))[:2000] if pick < 0.9 else "x" * 200_000


def csv_bytes(rng: Random, rows: list[dict[str, Any]]) -> bytes:
    """A CSV file of other rows, delimiters, quotes, line ends, encodings."""
    rows = _changed_rows(rng, rows, _cell) if rng.random() < 0.8 else rows
    columns = list(rows[0]) if rows else list(COLUMNS)
    text = io.StringIO()
    ends = rng.choice(("\n", "\n", "\n", "\r\n", "\r", "\n\n"))
    writer = csv.writer(
        text,
        delimiter=rng.choice((",",) * 8 + (";", "\t", "|", " ")),
        lineterminator=ends,
        quoting=rng.choice((csv.QUOTE_MINIMAL,) * 4 + (csv.QUOTE_ALL,)),
    )
    if rng.random() < 0.95:
        writer.writerow(columns)
    for row in rows:
        cells = [row.get(name, "") for name in columns]
        if rng.random() < 0.05:
            cells = rng.choice((cells[:1], [*cells, "x"], []))
        writer.writerow(["" if cell is None else cell for cell in cells])
    said = text.getvalue()
    if rng.random() < 0.15:
        at = rng.randrange(len(said) + 1)
        said = (
            said[:at]
            + rng.choice(('"', "'", "\x00", "\n", ",,,,,,", "\ufeff", '"' * 3, "=1+1", "\x1a"))
            + said[at:]
        )
    encoding = rng.choice(("utf-8",) * 8 + ("utf-8-sig", "utf-16", "latin-1", "cp1252"))
    return said.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace")


def parquet_bytes(rng: Random, rows: list[dict[str, Any]]) -> bytes:
    """A Parquet file of other cells and column types."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    if rng.random() < 0.6:
        rows = _changed_rows(rng, rows, _cell)
    names = list(rows[0]) if rows else list(COLUMNS)
    columns = {name: pa.array([_text(row.get(name)) for row in rows], pa.string()) for name in names}
    for name in rng.sample(names, min(len(names), rng.choice((0, 1, 1, 2)))):
        columns[name] = odd_column(rng, len(rows))
    buffer = pa.BufferOutputStream()
    table = pa.table(columns)
    options = {
        "compression": rng.choice(("snappy", "none", "gzip", "zstd")),
        "row_group_size": rng.choice((1, 2, 100)),
    }
    parquet.write_table(table, buffer, **options)
    return buffer.getvalue().to_pybytes()


def _text(cell: Any) -> str | None:
    return None if cell is None else str(cell).encode("utf-8", "replace").decode()


def odd_column(rng: Random, length: int) -> Any:
    """A column of a type that is no text."""
    import pyarrow as pa

    pick = rng.randrange(13)
    if pick == 0:
        return pa.array(range(length), pa.int64())
    if pick == 1:
        return pa.array([float("nan"), *[0.5] * length][:length], pa.float64())
    if pick == 2:
        return pa.nulls(length)
    if pick == 3:
        return pa.array([b"\xff\x00"] * length, pa.binary())
    if pick == 4:
        return pa.array([["a", None]] * length, pa.list_(pa.string()))
    if pick == 5:
        return pa.array(
            [{"bytes": b"x", "path": "y"}] * length,
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        )
    if pick == 6:
        return pa.array([rng.choice((2**62, -1, 0))] * length, pa.int64()).cast(pa.timestamp("ns"))
    if pick == 7:
        return pa.array(["a"] * length).dictionary_encode()
    if pick == 8:
        return pa.array([True] * length)
    if pick == 9:
        inner: Any = pa.int8()
        depth = rng.choice(DEEP[:2])
        for _ in range(depth):
            inner = pa.list_(inner)
        return pa.array([None] * length, inner)
    if pick == 10:
        return pa.array([[("a", 1)]] * length, pa.map_(pa.string(), pa.int8()))
    if pick == 11:
        return pa.array([rng.choice(("x" * 100_000, "", "a\x00b"))] * length, pa.large_string())
    return pa.array([1] * length, pa.decimal128(38, 10))
