"""The rows of a survey as they lie in its parts, one part after the other."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from xai.bench.data.files import Folder
from xai.bench.data.parquet import to_numpy
from xai.bench.run.description import RunDescription
from xai.bench.run.store import Store, read_run
from xai.bench.run.survey_schema import MAY_BE_NULL, SHARES, schema
from xai.core import DataError


@dataclass(frozen=True, eq=False)
class SurveyRow:
    """One image and method.

    Args:
        image: Id.
        group: What it is a frame or crop of; its own id if nothing.
        label: True class, if known.
        kind: How it was manipulated, if known.
        predicted: Class of the largest logit.
        target: Class that was explained.
        method: Name of the method configuration.
        frame: `face` or `crop`.
        place: In the data.
        outside: Share of the frame that the input does not show.
        level: Mean absolute relevance of the patches.
        logits: (classes,).
        map: (rows, cols) relevance in the frame.
        shares: (3, parts) in the order of `SHARES`; None where no landmarks are known.
    """

    image: str
    group: str
    label: str | None
    kind: str | None
    predicted: str
    target: str
    method: str
    frame: str
    place: int
    outside: float
    level: float
    logits: np.ndarray
    map: np.ndarray
    shares: np.ndarray | None

    @property
    def cell(self) -> tuple[str | None, str, str | None]:
        """Label, answer and kind."""
        return self.label, self.predicted, self.kind

    @property
    def relative(self) -> np.ndarray:
        """The map divided by its mean absolute relevance: 1 is what evenly spread relevance would give."""
        return self.map / self.level


def survey_of(run: str | Folder) -> RunDescription:
    """What the folder of a survey says of it.

    Raises:
        DataError: No run, or one that is no survey.
    """
    description = read_run(run)
    if not description.is_survey:
        raise DataError(
            f"{run} holds a benchmark, which is no survey.",
            f"xai survey CONFIG makes one; see what this one found: xai benchmark summary {run}",
        )
    return description


def parts_of(run: str | Folder) -> Iterator[list[SurveyRow]]:
    """The rows of each part that is done, in the order of the plan; never two parts at once."""
    return map(rows_of_part, Store(run).rows(schema(), MAY_BE_NULL))


def rows_of_part(table: Any) -> list[SurveyRow]:
    """The rows of an Arrow table of `schema`."""
    arrays = ("logits", "map", *SHARES)
    columns = {name: table[name].to_pylist() for name in schema().names if name not in arrays}
    logits, maps, *shares = (_lists(table[name]) for name in arrays)
    found = []
    for i in range(table.num_rows):
        cells = {name: values[i] for name, values in columns.items()}
        rows, cols = cells.pop("rows"), cells.pop("cols")
        held = [one[i] for one in shares]
        known = np.stack(held) if all(len(one) for one in held) else None
        found.append(SurveyRow(**cells, logits=logits[i], map=maps[i].reshape(rows, cols), shares=known))
    return found


def _lists(column: Any) -> list[np.ndarray]:
    """Each list of a column as an array, empty where it is null."""
    array = column.combine_chunks()
    ends = np.cumsum(array.value_lengths().fill_null(0).to_pylist())
    return np.split(to_numpy(array.flatten()), ends[:-1])
