"""Tables of a page: text to be read beside values to be sorted and copied; marks of outcomes in them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from xai.core.language import gettext, gettext_noop
from xai.stats import Outcome

Tone = Literal["", "plain", "good", "warn", "bad"]


@dataclass(frozen=True)
class Cell:
    """One cell.

    Args:
        text: As it is read.
        value: As it is sorted and copied; None: the text.
        tone: Colours the text as a tag.
    """

    text: str
    value: float | str | None = None
    tone: Tone = ""


@dataclass(frozen=True)
class Column:
    """Head of a column.

    Args:
        title: One or two words.
        number: Whether its cells are numbers.
        note: What the title means, if it needs saying.
    """

    title: str
    number: bool = True
    note: str = ""


@dataclass(frozen=True)
class Line:
    """One row of a table; the first cell names it.

    Args:
        cells: As many as there are columns.
        kind: "control" and "reference" rows are marked as such.
    """

    cells: tuple[Cell, ...]
    kind: Literal["", "control", "reference"] = ""


@dataclass(frozen=True)
class Table:
    """A table with a caption."""

    caption: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]


def table(
    caption: str, columns: Sequence[Column | str], lines: Iterable[Line | Sequence[Cell | str]]
) -> Table:
    """A table; titles alone are columns of text, and strings are cells."""
    heads = tuple(one if isinstance(one, Column) else Column(one, number=False) for one in columns)
    return Table(caption, heads, tuple(one if isinstance(one, Line) else line(one) for one in lines))


def line(cells: Sequence[Cell | str], control: bool = False) -> Line:
    """A row of cells or strings."""
    found = tuple(one if isinstance(one, Cell) else Cell(one) for one in cells)
    return Line(found, "control" if control else "")


def numeric(value: float | None, write: Callable[[float], str], tone: Tone = "") -> Cell:
    """A number as `write` has it; an empty cell for what is undefined."""
    return Cell("") if value is None or not isfinite(value) else Cell(write(value), value, tone)


def decimals(digits: int) -> Callable[[float], str]:
    """Writes numbers with so many decimals, and a minus sign that is one."""
    return lambda value: f"{value:.{digits}f}".replace("-", "−")


def share(value: float) -> str:
    """A share in per cent."""
    return f"{100 * value:.0f} %"


def markdown_table(table: Table) -> str:
    """A table in Markdown under its caption, with names of controls and references in italics."""
    head = [column.title for column in table.columns]
    rows = [head, ["---"] * len(head)]
    for line in table.lines:
        name, *cells = [cell.text for cell in line.cells]
        name = f"*{name}*" if line.kind else name
        rows.append([gettext("{name} (control)", name=name) if line.kind == "control" else name, *cells])
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return f"{table.caption}:\n\n" + "\n".join(lines)


NAMES = {
    Outcome.BETTER: gettext_noop("better"),
    Outcome.UNCLEAR: gettext_noop("not distinguishable"),
    Outcome.WORSE: gettext_noop("worse"),
    Outcome.TOO_FEW: gettext_noop("too few to tell"),
    Outcome.SATURATED: gettext_noop("saturated"),
    Outcome.NOT_COMPARED: gettext_noop("not compared"),
    Outcome.IMPRECISE: gettext_noop("within the error of the precision"),
}
SIGNS = {
    Outcome.BETTER: "▲",
    Outcome.UNCLEAR: "○",
    Outcome.WORSE: "▼",
    Outcome.TOO_FEW: "?",
    Outcome.SATURATED: "–",
    Outcome.NOT_COMPARED: "",
    Outcome.IMPRECISE: "≈",
}
TONES: dict[Outcome, Tone] = {
    Outcome.BETTER: "good",
    Outcome.WORSE: "bad",
    Outcome.SATURATED: "warn",
    Outcome.IMPRECISE: "warn",
}
