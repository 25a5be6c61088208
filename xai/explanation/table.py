"""Explanations as a table: a line for each image, class and method, with the values that records hold."""

import json
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xai.core import Explanation, UsageError
from xai.core.csv_table import CsvTable
from xai.explanation.files import attention_key, statistics

if TYPE_CHECKING:
    import pandas as pd

OPTIONS = ("layers", "head_fusion", "layer_fusion", "clamp")
STATISTICS = ("min", "max", "mean", "sum")
FILES = ("comparison", "maps", "record", "face_parts")
COLUMNS = (
    *("image", "path", "face", "group", "true_class", "model", "predicted", "class", "probability", "score"),
    *("method", "preset", *OPTIONS, "options"),
    *("rows", "columns", *STATISTICS, "positive_sum", "negative_sum", "positive_share"),
    *("strongest_row", "strongest_column", "sink_share", "points_into_mask", "points_near_click"),
    *("picture", *FILES),
)
Named = tuple[str, Explanation, Mapping[str, str]]
"""What the method is called, what it said of an image, and the files that were written of it."""


def table_rows(explanations: Iterable[Named]) -> Iterator[list[Any]]:
    """Lines in the order of `COLUMNS`; None where there is no value."""
    for method, explanation, files in explanations:
        for label in explanation.maps:
            yield _row(method, explanation, label, files)


def write_csv(explanations: Iterable[Named], path: str | Path) -> Path:
    """Write the table as CSV; a file that is there is replaced as a whole.

    Returns:
        Where it is.

    Raises:
        OutputError: The file cannot be written.
    """
    table = CsvTable(COLUMNS)
    table.add(table_rows(explanations))
    table.write(Path(path))
    return Path(path)


def to_frame(explanations: Iterable[Named]) -> "pd.DataFrame":
    """The table for pandas.

    Raises:
        UsageError: pandas is not installed.
    """
    try:
        pandas = import_module("pandas")
    except ImportError:
        raise UsageError("pandas is not installed.", "Run: pip install pandas, or use to_csv.") from None
    return pandas.DataFrame(list(table_rows(explanations)), columns=list(COLUMNS))


def _row(method: str, explanation: Explanation, label: str, files: Mapping[str, str]) -> list[Any]:
    sample, options = explanation.sample, explanation.options
    found, values = statistics(explanation, label), explanation.maps[label]
    positive, negative = float(values.clip(min=0).sum()), float(values.clip(max=0).sum())
    origin = sample.origin
    return [
        sample.id,
        None if sample.path is None else str(sample.path),
        None if origin is None or origin.face is None else origin.number,
        sample.group,
        sample.label,
        explanation.model.get("name"),
        explanation.predicted,
        label,
        explanation.probabilities.get(label),
        _score(explanation, label),
        method,
        explanation.preset,
        *(_text(options.get(name)) for name in OPTIONS),
        json.dumps(dict(options), default=str, ensure_ascii=False),
        found["rows"],
        found["cols"],
        *(found[name] for name in STATISTICS),
        positive,
        negative,
        positive / (positive - negative) if positive > negative else None,
        *found["strongest_patch"],
        found["sink_share"],
        found.get("points_into_mask"),
        found.get("points_near_click"),
        files.get(attention_key(label)),
        *(files.get(name) for name in FILES),
    ]


def _text(option: Any) -> str | None:
    """Layers may be a list of numbers."""
    return option if option is None or isinstance(option, str) else json.dumps(option, default=str)


def _score(explanation: Explanation, label: str) -> float | None:
    """The class's logit, or of a contrast the difference of two; None of a name that says neither."""
    labels, logits = explanation.labels, np.asarray(explanation.logits, np.float64)
    if label in labels:
        return float(logits[labels.index(label)])
    for place, sign in enumerate(label):  # class names may hold a minus themselves
        positive, negative = label[:place], label[place + 1 :]
        if sign != "-" or positive not in labels:
            continue
        among = (negative,) if negative in labels else labels if negative == "rest" else ()
        others = [at for at, name in enumerate(labels) if name in among and name != positive]
        if others:
            return float(logits[labels.index(positive)] - logits[others].max())
    return None
