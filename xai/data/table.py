"""Rows of a CSV or Parquet file as people and programs save them, a broken row on its own."""

import csv
import importlib
import io
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xai.core import ConfigError, nearest, printable, valid_text
from xai.core.files import fault_of

SEPARATORS = (";", "\t")  # beside the comma
MARKS = {  # byte order marks, the longer ones first
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
    b"\xef\xbb\xbf": "utf-8-sig",
}
AS_UTF8 = "Save it as CSV in UTF-8."
LONGEST = 1000  # characters of a label, group or kind


@dataclass(frozen=True)
class TableRow:
    """A row of a table.

    Args:
        number: Of its last line in a CSV file, of the row in Parquet.
        first: Of its first line: a cell with a line break goes over several.
        cells: Text by column; empty: not given.
        fault: Why the row cannot be used, None if it can.
    """

    number: int
    first: int
    cells: dict[str, str]
    fault: str | None = None


def read_csv(path: Path, needed: Sequence[str], what: str) -> Iterator[TableRow]:
    """The header and the rows of a CSV file: commas, semicolons or tabs; UTF-8, or UTF-16 that says so.

    Semicolons or tabs are taken only where by them, and not by commas, the header has the needed columns.

    Args:
        path: Of the file.
        needed: Columns that it must have.
        what: The file, for messages: `the manifest`.

    Raises:
        ConfigError: It cannot be read, or a row has more cells than the header.
    """
    text = _text(path, what)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text, needed))
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise ConfigError(f"Cannot read {what} {path}: {error}.") from None
    yield TableRow(reader.line_num, 1, dict.fromkeys(header, ""), _doubled(header))
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield TableRow(reader.line_num, first, {}, f"{error}; is a quotation mark missing?")
            continue
        if cells is None:
            return
        if not cells:
            continue
        if len(cells) > len(header):
            raise ConfigError(
                f"{path}:{reader.line_num}: more cells than columns.",
                "A value with a comma needs quotation marks.",
            )
        filled = [*cells, *[""] * (len(header) - len(cells))]
        yield TableRow(reader.line_num, first, dict(zip(header, filled, strict=True)))


def read_parquet(path: Path, paths: Sequence[str], what: str, parquet: Any) -> Iterator[TableRow]:
    """Rows of a Parquet file, cells as text.

    Args:
        path: Of the file.
        paths: Columns that hold paths: text or bytes, nothing else.
        what: The file, for messages.
        parquet: The module pyarrow.parquet.

    Raises:
        ConfigError: It cannot be read.
    """
    if (fault := fault_of(path)) is not None:
        raise ConfigError(f"Cannot read {what} {printable(path)}: {fault}.")
    try:
        table = parquet.read_table(path)
        yield TableRow(0, 0, dict.fromkeys(table.column_names, ""), _doubled(table.column_names))
        columns = {name: values_of(table[name]) for name in table.column_names}
    except ConfigError:
        raise
    except Exception as error:  # pyarrow raises whatever the broken bytes make it
        raise ConfigError(f"Cannot read {what} {path}: {error}") from None
    for number in range(table.num_rows):
        cells, faults = {}, []
        for name, values in columns.items():
            try:
                text = path_of if name in paths else text_of
                cells[name] = text(values[number], name) or ""
            except ValueError as error:
                faults.append(str(error))
        yield TableRow(number + 1, number + 1, cells, "; ".join(faults) or None)


def values_of(column: Any) -> list[Any]:
    """Cells of an Arrow column; text as bytes, since a Parquet file may call any bytes text."""
    pa = importlib.import_module("pyarrow")
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    return column.to_pylist()


def path_of(cell: Any, name: str) -> str | None:
    """A cell of a column of paths.

    Raises:
        ValueError: Neither text nor bytes.
    """
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if isinstance(cell, bytes):
        return os.fsdecode(cell)
    if not isinstance(cell, str):
        raise ValueError(f"{type(cell).__name__} in the column {name}, which holds paths of files")
    return cell


def text_of(cell: Any, name: str) -> str | None:
    """A cell of a label, group or kind: text, a number (a whole one without `.0`) or a truth value.

    Raises:
        ValueError: Anything else, or longer than 1000 characters.
    """
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", "backslashreplace")
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)  # a column of whole numbers with gaps, as pandas has it
    if isinstance(cell, list | tuple | dict):
        raise ValueError(f"{type(cell).__name__} in the column {name}, which holds text")
    text = valid_text(str(cell))
    if len(text) > LONGEST:
        raise ValueError(f"{len(text)} characters in the column {name}, more than {LONGEST}")
    return text


def check_columns(path: Path, header: TableRow, columns: Sequence[str]) -> None:
    """Raise a ConfigError unless the header names the first of the columns, no others, and each once."""
    for name in header.cells:
        if name not in columns:
            raise ConfigError(f"{path}: unknown column {printable(name)!r}.", nearest(name, columns))
    if header.fault:
        raise ConfigError(f"{path}: {header.fault}.", f"Columns: {', '.join(columns)}.")
    if columns[0] not in header.cells:
        raise ConfigError(
            f"{path}: no column {columns[0]!r}.",
            f"Columns: {', '.join(columns)}; only {columns[0]} is needed.",
        )


def _doubled(header: Sequence[str]) -> str | None:
    return "a column is there twice" if len(set(header)) < len(header) else None


def _text(path: Path, what: str) -> str:
    if (fault := fault_of(path)) is not None:
        raise ConfigError(f"Cannot read {what} {printable(path)}: {fault}.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"Cannot read {what} {path}: {error.strerror or error}.") from None
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in content[:2]:
        raise ConfigError(f"{path}: UTF-16 without a byte order mark.", AS_UTF8)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise ConfigError(f"Cannot read {what} {path}: {error}.", AS_UTF8) from None


def _separator(text: str, needed: Sequence[str]) -> str:
    """The one by which the header falls into the needed columns; a comma if none does."""
    header = re.split(r"[\r\n]", text, maxsplit=1)[0]
    for one in (",", *SEPARATORS):
        if {*needed} <= {name.strip().strip('"') for name in header.split(one)}:
            return one
    return ","
