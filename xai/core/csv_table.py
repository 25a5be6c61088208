"""CSV files for people and spreadsheets: made row by row, whole or not there, and run by nobody."""

import csv
import re
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

from xai.core.files import replacing

HELD = 1_000_000  # characters of a table in memory; more are on disk
_FORMULA = re.compile(r"[=+\-@\t\r]")  # what a cell begins with that a spreadsheet would run


def inert(cells: Iterable[Any]) -> list[Any]:
    """Cells of a row; text that a spreadsheet would take for a formula gets an apostrophe before it."""
    return [f"'{cell}" if _would_run(cell) else cell for cell in cells]


def _would_run(cell: Any) -> bool:
    if not isinstance(cell, str | Path) or not _FORMULA.match(str(cell)):
        return False
    with suppress(ValueError):
        float(str(cell))  # a negative number is none
        return False
    return True


class CsvTable:
    """A table that grows by rows and is written in the end; few of its rows are in memory.

    Args:
        columns: Names of the columns.
    """

    def __init__(self, columns: Sequence[str]):
        self._text = SpooledTemporaryFile(HELD, "w+", encoding="utf-8", errors="replace", newline="")  # noqa: SIM115 - closed by write
        self._lines = csv.writer(self._text, lineterminator="\n")
        self._lines.writerow(columns)

    def add(self, rows: Iterable[Iterable[Any]]) -> None:
        """Append rows; None is an empty cell."""
        self._lines.writerows(map(inert, rows))

    def write(self, path: Path) -> None:
        """Write the file (UTF-8), once.

        Raises:
            OutputError: It cannot be written.
        """
        with self._text as text:
            text.seek(0)
            with replacing(path) as file:
                lines = TextIOWrapper(file, "utf-8", newline="")
                shutil.copyfileobj(text, lines)
                lines.detach()
