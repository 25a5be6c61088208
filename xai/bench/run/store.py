"""A run's folder: records in Parquet parts, each written once and renamed into place."""

import importlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xai.bench.data.files import in_threads, read_json, write_bytes
from xai.bench.data.parquet import read_columns, records_fault
from xai.bench.data.remote import Folder, folder_of, names_in
from xai.bench.run.inputs import Exclusion
from xai.bench.run.masks import Counts, added
from xai.bench.run.run_file import AGAIN, RESTORE, Notes, RunFile, check
from xai.core import DataError, Record, UsageError, nearest

if TYPE_CHECKING:
    from xai.bench.run.plan import WorkItem

RUN_FILE, PLAN_FILE = "run.json", "plan.parquet"
PLANNED = ("key", "shard", "start", "stop", "protocol", "forwards")
TEXTS = ("key", "protocol")
MAY_BE_NULL = ("label", "kind")
UNIQUE = ["image", "method", "metric", "protocol", "protocol_hash"]  # one score each
PLANNED_AT_ONCE = 50_000  # units of a plan in memory while it is written
FORMATS = ("csv", "parquet")


@dataclass(frozen=True)
class WorkResult:
    """What one unit found.

    Args:
        records: One per image, method and metric.
        exclusions: What is missing, and why.
        forwards: Forward passes of perturbed images.
        seconds: Wall time.
        masks: What the masks of the unit's images mark, see `xai.bench.run.masks`.
    """

    records: tuple[Record, ...]
    exclusions: tuple[Exclusion, ...] = ()
    forwards: int = 0
    seconds: float = 0.0
    masks: Mapping[str, Sequence[int]] = field(default_factory=dict)


class Store:
    """The parts of a run.

    Args:
        folder: Of the run: a path, or a URL that fsspec knows.
    """

    def __init__(self, folder: str | Folder):
        self.folder = folder_of(folder)

    @property
    def run_file(self) -> Folder:
        """Configuration, plan and provenance."""
        return self.folder / RUN_FILE

    def part(self, key: str) -> Folder:
        """The file of a unit."""
        return self.folder / "parts" / f"{key}.parquet"

    def write_plan(self, units: Iterable["WorkItem"]) -> None:
        """Write the units of a run, in the order of work, without holding them all.

        Raises:
            DataError: The disk objects.
        """
        pa, buffer, rest = arrow(), BytesIO(), iter(units)
        schema = _plan_schema()
        with importlib.import_module("pyarrow.parquet").ParquetWriter(buffer, schema) as writer:
            while some := list(islice(rest, PLANNED_AT_ONCE)):
                columns = {name: [getattr(unit, name) for unit in some] for name in PLANNED}
                writer.write_table(pa.table(columns, schema=schema))
        write_bytes(self.folder / PLAN_FILE, buffer.getvalue())

    def planned_items(self) -> list[dict[str, Any]]:
        """The units of the run, in the order of work; older versions listed them in `run.json`."""
        said = read_run(self.folder)["plan"]["units"]
        if isinstance(said, list):
            return said
        path, pa = self.folder / PLAN_FILE, arrow()
        table = self._read(path, _plan_schema().remove_metadata())
        keys = table["key"]
        if len(keys) != said or pa.compute.count_distinct(keys).as_py() != said:
            raise DataError(
                f"{path} is broken: it lists {len(keys)} units, and {RUN_FILE} says {said}.", AGAIN
            )
        return table.to_pylist()

    def keys(self) -> set[str]:
        """Keys of the units that are done, from one listing."""
        names = names_in(self.folder / "parts")
        return {name.removesuffix(".parquet") for name in names if name.endswith(".parquet")}

    def has(self, key: str) -> bool:
        """Whether a unit is done."""
        return self.part(key).exists()

    def write(self, key: str, outcome: WorkResult) -> None:
        """Write a unit's records as one part.

        Raises:
            DataError: The disk is full or cannot be written.
        """
        pa = arrow()
        about = {
            "exclusions": [asdict(one) for one in outcome.exclusions],
            "forwards": outcome.forwards,
            "seconds": outcome.seconds,
            "masks": dict(outcome.masks),
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
            with path.open("rb") as file:
                footer = importlib.import_module("pyarrow.parquet").read_metadata(file)
            said = json.loads((footer.metadata or {}).get(b"xai", b"null"))
        except Exception as error:  # pyarrow raises whatever the broken bytes make it
            raise _broken(path, error) from None
        check(Notes, said, path, AGAIN)
        return said | {"records": footer.num_rows}

    def table(self, columns: Sequence[str] | None = None) -> Any:
        """All records as one Arrow table, in the order of the plan."""
        pa, schema = arrow(), _schema()
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns])
        return pa.concat_tables([schema.empty_table(), *(self._records(key, schema) for key in self._done())])

    def images(self, key: str) -> list[str]:
        """Ids of the images that have records in a part, in their order."""
        return self._records(key, arrow().schema([_schema().field("image")]))["image"].unique().to_pylist()

    def totals(self) -> tuple[list[Exclusion], int]:
        """Everything left out of the parts that are done, each once, and the number of records."""
        parts = in_threads(self.about, self._done())
        found = dict.fromkeys(Exclusion(**one) for part in parts for one in part["exclusions"])
        return list(found), sum(part["records"] for part in parts)

    def masks(self, partial: str) -> Counts:
        """What the masks of the images mark, of one unit per shard; older versions did not say.

        Args:
            partial: Protocol of units that look at some images of a shard only.
        """
        done = self.keys()
        units = [one for one in self.planned_items() if one["key"] in done and one["protocol"] != partial]
        shards = {one.get("shard", one["key"]): one["key"] for one in units}
        return added(part.get("masks", {}) for part in in_threads(self.about, shards.values()))

    def exclusions(self) -> list[Exclusion]:
        """Everything left out of the parts that are done, each once."""
        return self.totals()[0]

    def _records(self, key: str, schema: Any) -> Any:
        """Of one part; the kind of manipulation is null where an older version wrote it."""
        path = self.part(key)
        table = self._read(path, schema, nulls=MAY_BE_NULL, lacks=("kind",))
        if (wrong := records_fault(table)) is not None:
            raise DataError(f"{path} is broken: {wrong}.", AGAIN)
        return table

    def _read(self, path: Folder, schema: Any, **may: Sequence[str]) -> Any:
        try:
            return read_columns(path, schema, **may).replace_schema_metadata(None)
        except Exception as error:  # pyarrow raises whatever the broken bytes make it
            raise _broken(path, error) from None

    def _done(self) -> list[str]:
        done = self.keys()
        return [unit["key"] for unit in self.planned_items() if unit["key"] in done]


def read_run(run: str | Folder) -> dict[str, Any]:
    """What `run.json` says, checked: all that is read of it is there, and of its type.

    Raises:
        DataError: The folder holds no run, or its file is broken.
    """
    path = folder_of(run) / RUN_FILE
    if not path.exists():
        raise DataError(f"{run} holds no benchmark run.", "xai benchmark run CONFIG --out RUN makes one.")
    about = read_json(path)
    check(RunFile, about, path, RESTORE)
    return about


def read_records(run: str | Folder, columns: Sequence[str] | None = None) -> Any:
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
    frame = Store(run).table(columns).to_pandas()
    if {*UNIQUE} <= {*frame.columns} and (twice := frame.duplicated(UNIQUE)).any():
        one = frame[twice].iloc[0]
        raise DataError(
            f"{run} has two scores of {one['method']!r} on {one['image']!r} by {one['metric']} under "
            f"{one['protocol']}: a file in its folder parts is there twice, or was changed.",
            "Delete the folder parts and run the same xai benchmark run again.",
        )
    return frame


def export(run: str | Folder, path: str | Path) -> int:
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
        importlib.import_module("pyarrow.parquet").write_table(table, buffer, compression="zstd")
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


def _plan_schema() -> Any:
    pa = arrow()
    return pa.schema([(name, pa.string() if name in TEXTS else pa.int64()) for name in PLANNED])


def _broken(path: Folder, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path} is missing.", "Run the same xai benchmark run again; it is written anew.")
    return DataError(f"{path} is broken: {error}.", AGAIN)
