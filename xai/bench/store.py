"""A run's folder: records in Parquet parts, each written once and renamed into place."""

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import Any

from xai.bench.files import read_json, write_bytes
from xai.bench.prepared import Exclusion
from xai.core import DataError, Record, UsageError, nearest

RUN_FILE = "run.json"
FORMATS = ("csv", "parquet")


@dataclass(frozen=True)
class Outcome:
    """What one unit found.

    Args:
        records: One per image, method and metric.
        exclusions: What is missing, and why.
        forwards: Forward passes of perturbed images.
        seconds: Wall time.
    """

    records: tuple[Record, ...]
    exclusions: tuple[Exclusion, ...] = ()
    forwards: int = 0
    seconds: float = 0.0


class Store:
    """The parts of a run.

    Args:
        folder: Of the run.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    @property
    def run_file(self) -> Path:
        """Configuration, plan and provenance."""
        return self.folder / RUN_FILE

    def part(self, key: str) -> Path:
        """The file of a unit."""
        return self.folder / "parts" / f"{key}.parquet"

    def parts(self) -> list[Path]:
        """Files of the units that are done, sorted."""
        return sorted((self.folder / "parts").glob("*.parquet"))

    def has(self, key: str) -> bool:
        """Whether a unit is done."""
        return self.part(key).exists()

    def write(self, key: str, outcome: Outcome) -> None:
        """Write a unit's records as one part.

        Raises:
            DataError: The disk is full or cannot be written.
        """
        pa = arrow()
        about = {
            "exclusions": [asdict(one) for one in outcome.exclusions],
            "forwards": outcome.forwards,
            "seconds": outcome.seconds,
        }
        schema = _schema().with_metadata({"xai": json.dumps(about)})
        table = pa.Table.from_pylist([record.as_dict() for record in outcome.records], schema=schema)
        buffer = BytesIO()
        importlib.import_module("pyarrow.parquet").write_table(table, buffer)
        write_bytes(self.part(key), buffer.getvalue())

    def about(self, key: str) -> dict[str, Any]:
        """A part's exclusions, forwards and seconds."""
        path = self.part(key)
        try:
            metadata = importlib.import_module("pyarrow.parquet").read_schema(path).metadata
            return json.loads(metadata[b"xai"])
        except Exception as error:  # pyarrow raises whatever the broken bytes make it
            raise _broken(path, error) from None

    def table(self, columns: Sequence[str] | None = None) -> Any:
        """All records as one Arrow table, in the order of the plan."""
        pa, parquet = arrow(), importlib.import_module("pyarrow.parquet")
        schema = _schema()
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns])
        tables = [schema.empty_table()]
        for key in self._done():
            path = self.part(key)
            try:
                # with the schema, columns that a part of an older version lacks are null
                tables.append(parquet.read_table(path, schema=schema))
            except Exception as error:  # pyarrow raises whatever the broken bytes make it
                raise _broken(path, error) from None
        return pa.concat_tables(tables)

    def exclusions(self) -> list[Exclusion]:
        """Everything left out of the parts that are done, each once."""
        found = [Exclusion(**one) for key in self._done() for one in self.about(key)["exclusions"]]
        return list(dict.fromkeys(found))

    def _done(self) -> list[str]:
        keys = [unit["key"] for unit in read_run(self.folder)["plan"]["units"]]
        return [key for key in keys if self.has(key)]


def read_run(run: str | Path) -> dict[str, Any]:
    """What `run.json` says.

    Raises:
        DataError: The folder holds no run.
    """
    path = Path(run) / RUN_FILE
    if not path.exists():
        raise DataError(f"{run} holds no benchmark run.", "xai benchmark run CONFIG --out RUN makes one.")
    return read_json(path)


def read_records(run: str | Path, columns: Sequence[str] | None = None) -> Any:
    """Records of a run, finished or not, as a pandas DataFrame: one row per image, method, metric, protocol.

    Args:
        run: Its folder.
        columns: Fields of `Record`; None for all.

    Raises:
        DataError: No run, or a broken part.
        UsageError: pandas or pyarrow is not installed, or an unknown column.
    """
    names = [field.name for field in fields(Record)]
    for column in columns or ():
        if column not in names:
            raise UsageError(f"Records have no column {column!r}.", nearest(column, names))
    extra("pandas")
    return Store(run).table(columns).to_pandas()


def export(run: str | Path, path: str | Path) -> int:
    """Write all records into one file, `.csv` or `.parquet`; curves in CSV are JSON lists.

    Returns:
        The number of records.

    Raises:
        UsageError: Another format.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise UsageError(f"Cannot export to {path.name!r}.", "Give a file that ends in .csv or .parquet.")
    buffer = BytesIO()
    if kind == "parquet":
        table = Store(run).table()
        importlib.import_module("pyarrow.parquet").write_table(table, buffer)
        write_bytes(path, buffer.getvalue())
        return table.num_rows
    frame = read_records(run)
    for name in ("curve", "fractions"):
        frame[name] = [json.dumps([float(value) for value in values]) for values in frame[name]]
    frame.to_csv(buffer, index=False)
    write_bytes(path, buffer.getvalue())
    return len(frame)


def arrow() -> Any:
    """The module pyarrow, imported when first needed."""
    return extra("pyarrow")


def extra(name: str) -> Any:
    """A library of the extra `bench`.

    Raises:
        UsageError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UsageError(
            f"Benchmarks need {name}, which is not installed.", "Run: pip install 'vit-xai[bench]'"
        ) from None


def _schema() -> Any:
    pa = arrow()
    types: Mapping[Any, Any] = {
        "curve": pa.list_(pa.float64()),
        "fractions": pa.list_(pa.float64()),
        str: pa.string(),
        bool: pa.bool_(),
        int: pa.int64(),
        float: pa.float64(),
    }
    return pa.schema([(f.name, types.get(f.name, types.get(f.type, pa.string()))) for f in fields(Record)])


def _broken(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} is broken: {error}.", "Delete it and run the same command again.")
