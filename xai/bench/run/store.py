"""A run's folder: records in Parquet parts, each written once and renamed into place."""

import importlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from io import BytesIO
from itertools import islice
from typing import Any, NamedTuple

from xai.bench.config.lookup import is_metric, metric_names
from xai.bench.data.files import Folder, folder_of, in_threads, names_in, read_json, write_bytes
from xai.bench.data.parquet import arrow, extra, read_columns
from xai.bench.run.description import AGAIN, RESTORE, PartNotes, RunDescription, checked
from xai.bench.run.items import PRECISION, WorkItem
from xai.bench.run.masks import Counts, added
from xai.core import DataError, Record, UsageError, nearest
from xai.core.options import is_import_path
from xai.stats import Exclusion

RUN_FILE, PLAN_FILE = "run.json", "plan.parquet"
PLANNED = ("key", "shard", "start", "stop", "protocol", "forwards")
TEXTS = ("key", "protocol")
MAY_BE_NULL = ("label", "kind")
UNIQUE = ["image", "method", "metric", "protocol", "protocol_hash"]  # one score each
PLANNED_AT_ONCE = 50_000  # work items of a plan in memory while it is written


@dataclass(frozen=True)
class WorkResult:
    """What one work item found.

    Args:
        records: One per image, method and metric.
        exclusions: What is missing, and why.
        forwards: Forward passes of perturbed images.
        seconds: Wall time.
        masks: What the masks of the item's images mark, see `xai.bench.run.masks`.
        rows: Of a survey, an Arrow table instead of records, see `xai.bench.run.survey_rows`.
    """

    records: tuple[Record, ...]
    exclusions: tuple[Exclusion, ...] = ()
    forwards: int = 0
    seconds: float = 0.0
    masks: Mapping[str, Sequence[int]] = field(default_factory=dict)
    rows: Any = None


class PlannedItem(NamedTuple):
    """A work item as the run's folder lists it.

    Args:
        key: Names its part.
        protocol: Name, or `maps` or `checks`.
        shard: Number; None in runs of versions that did not say it.
    """

    key: str
    protocol: str
    shard: int | None


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
        """The file of a work item."""
        return self.folder / "parts" / f"{key}.parquet"

    def write_plan(self, items: Iterable[WorkItem]) -> None:
        """Write the work items of a run, in the order of work, without holding them all.

        Raises:
            DataError: The disk objects.
        """
        pa, buffer, rest = arrow(), BytesIO(), iter(items)
        schema = _plan_schema()
        with importlib.import_module("pyarrow.parquet").ParquetWriter(buffer, schema) as writer:
            while some := list(islice(rest, PLANNED_AT_ONCE)):
                columns = {name: [getattr(item, name) for item in some] for name in PLANNED}
                writer.write_table(pa.table(columns, schema=schema))
        write_bytes(self.folder / PLAN_FILE, buffer.getvalue())

    def planned_items(self) -> list[PlannedItem]:
        """The work items of the run, in the order of work; older versions listed them in `run.json`."""
        count = read_run(self.folder).plan.units
        if isinstance(count, list):
            return [PlannedItem(one.key, one.protocol, one.shard) for one in count]
        path, pa = self.folder / PLAN_FILE, arrow()
        table = self._read(path, _plan_schema().remove_metadata())
        keys = table["key"]
        if len(keys) != count or pa.compute.count_distinct(keys).as_py() != count:
            raise DataError(
                f"{path} is broken: it lists {len(keys)} units, and {RUN_FILE} says {count}.", AGAIN
            )
        return list(map(PlannedItem, *(table[name].to_pylist() for name in PlannedItem._fields)))

    def keys(self) -> set[str]:
        """Keys of the work items that are done, from one listing."""
        names = names_in(self.folder / "parts")
        return {name.removesuffix(".parquet") for name in names if name.endswith(".parquet")}

    def has(self, key: str) -> bool:
        """Whether a work item is done."""
        return self.part(key).exists()

    def write(self, key: str, outcome: WorkResult) -> None:
        """Write a work item's records, or rows, as one part.

        Raises:
            DataError: The disk is full or cannot be written.
        """
        pa = arrow()
        notes = {
            "exclusions": [asdict(one) for one in outcome.exclusions],
            "forwards": outcome.forwards,
            "seconds": outcome.seconds,
            "masks": dict(outcome.masks),
        }
        table = outcome.rows
        if table is None:
            table = pa.Table.from_pylist([record.as_dict() for record in outcome.records], schema=_schema())
        table = table.replace_schema_metadata({"xai": json.dumps(notes)})
        buffer = BytesIO()
        importlib.import_module("pyarrow.parquet").write_table(table, buffer)
        write_bytes(self.part(key), buffer.getvalue())

    def notes(self, key: str) -> tuple[PartNotes, int]:
        """What is written beside the records of a part, and how many these are."""
        path = self.part(key)
        try:
            with path.open("rb") as file:
                footer = importlib.import_module("pyarrow.parquet").read_metadata(file)
            content = json.loads((footer.metadata or {}).get(b"xai", b"null"))
        except Exception as error:  # pyarrow raises whatever the broken bytes make it
            raise _broken(path, error) from None
        return checked(PartNotes, content, path, AGAIN), footer.num_rows

    def table(self, columns: Sequence[str] | None = None, exact: bool = False) -> Any:
        """All records as one Arrow table, in the order of the plan.

        Args:
            columns: Fields of `Record`; None takes all.
            exact: Instead, the records in full precision of some images of a run that has a lower one.
        """
        pa, schema = arrow(), _columns(columns)
        parts = (self._records(key, schema) for key in self.done(exact))
        return pa.concat_tables([schema.empty_table(), *parts])

    def tables(self, columns: Sequence[str]) -> Iterator[Any]:
        """These fields of the records of one part after the other; in Arrow tables, texts as dictionaries."""
        return (self.records_of(key, columns) for key in self.done())

    def records_of(self, key: str, columns: Sequence[str]) -> Any:
        """The records of one part, as `tables` gives them."""
        pa = arrow()
        texts = pa.dictionary(pa.int32(), pa.string())
        typed = [one.with_type(texts) if one.type == pa.string() else one for one in _columns(columns)]
        return self._records(key, pa.schema(typed)).unify_dictionaries()

    def rows(self, schema: Any, nulls: Sequence[str], keys: Sequence[str] | None = None) -> Iterator[Any]:
        """The rows of a survey, of one part after the other, all or these; Arrow tables."""
        keys = self.done() if keys is None else keys
        return (self._read(self.part(key), schema, nulls=nulls) for key in keys)

    def images(self, key: str) -> list[str]:
        """Ids of the images that have records in a part, in their order."""
        return self._records(key, arrow().schema([_schema().field("image")]))["image"].unique().to_pylist()

    def totals(self) -> tuple[list[Exclusion], int]:
        """Everything left out of the parts that are done, each once, and the number of records."""
        parts = in_threads(self.notes, self.done())
        return distinct_exclusions(notes for notes, _ in parts), sum(records for _, records in parts)

    def masks(self, partial: str) -> Counts:
        """What the masks of the images mark, of one work item per shard; older versions did not say.

        Args:
            partial: Protocol of work items that look at some images of a shard only.
        """
        done = self.keys()
        partly = (partial, PRECISION)
        items = [one for one in self.planned_items() if one.key in done and one.protocol not in partly]
        shards = {one.key if one.shard is None else one.shard: one.key for one in items}
        return added(notes.masks for notes, _ in in_threads(self.notes, shards.values()))

    def exclusions(self) -> list[Exclusion]:
        """Everything left out of the parts that are done, each once."""
        return self.totals()[0]

    def _records(self, key: str, schema: Any) -> Any:
        """Of one part; the kind of manipulation is null where an older version wrote it."""
        path = self.part(key)
        table = self._read(path, schema, nulls=MAY_BE_NULL, lacks=("kind",))
        for metric in _metrics(table):
            if not is_metric(metric) and is_import_path(metric):
                raise DataError(
                    f"{path} has scores of {metric}, code that was not imported.",
                    "If you trust it: the same command with --trust-code, from the folder of the code. "
                    f"In Python: xai.metrics.METRICS.resolve({metric!r}, trusted=True) first.",
                )
        if (wrong := _records_fault(table)) is not None:
            raise DataError(f"{path} is broken: {wrong}.", AGAIN)
        return table

    def _read(self, path: Folder, schema: Any, **may: Sequence[str]) -> Any:
        try:
            return read_columns(path, schema, **may).replace_schema_metadata(None)
        except Exception as error:  # pyarrow raises whatever the broken bytes make it
            raise _broken(path, error) from None

    def done(self, exact: bool = False) -> list[str]:
        """Work items that are done, those of another precision or the others."""
        done = self.keys()
        return [
            one.key
            for one in self.planned_items()
            if one.key in done and (one.protocol == PRECISION) == exact
        ]


def distinct_exclusions(parts: Iterable[PartNotes]) -> list[Exclusion]:
    """What is missing according to some parts, each once."""
    written = (one for notes in parts for one in notes.exclusions)
    return list(dict.fromkeys(Exclusion(o.image, o.method, o.protocol, o.reason) for o in written))


def read_run(run: str | Folder) -> RunDescription:
    """What `run.json` says, checked: all that is read of it is there, and of its type.

    Raises:
        DataError: The folder holds no run, or its file is broken.
    """
    path = folder_of(run) / RUN_FILE
    if not path.exists():
        raise DataError(
            f"{run} holds no benchmark run.",
            "xai benchmark run CONFIG --out RUN makes one, xai survey CONFIG --out RUN a survey.",
        )
    return checked(RunDescription, read_json(path), path, RESTORE)


def read_records(run: str | Folder, columns: Sequence[str] | None = None) -> Any:
    """Records of a run, finished or not, as a pandas DataFrame: one line per image, method, metric, protocol.

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
    read_run(run).scored(run)
    frame = Store(run).table(columns).to_pandas()
    if {*UNIQUE} <= {*frame.columns} and (twice := frame.duplicated(UNIQUE)).any():
        one = frame[twice].iloc[0]
        raise two_scores(run, one["image"], one["method"], one["metric"], one["protocol"])
    return frame


def two_scores(run: str | Folder, image: str, method: str, metric: str, protocol: str) -> DataError:
    """What a run is refused with that scores one map twice."""
    return DataError(
        f"{run} has two scores of {method!r} on {image!r} by {metric} under {protocol}: "
        "a file in its folder parts is there twice, or was changed.",
        "Delete the folder parts and run the same xai benchmark run again.",
    )


def _records_fault(table: Any) -> str | None:
    """What is wrong with the records of a part, None if nothing is."""
    compute, names = importlib.import_module("pyarrow.compute"), table.column_names
    for metric in _metrics(table):
        if not is_metric(metric):
            return f"{metric[:100]!r} is no metric. {nearest(metric, metric_names())[:-1]}"
    if {"curve", "fractions"} <= {*names}:
        lengths = compute.list_value_length(table["curve"])
        if not lengths.equals(compute.list_value_length(table["fractions"])):
            return "a curve has another number of points than of fractions"
    return None


def _metrics(table: Any) -> list[str]:
    return table["metric"].unique().to_pylist() if "metric" in table.column_names else []


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


def _columns(names: Sequence[str] | None) -> Any:
    """The schema of some columns, or of all."""
    schema = _schema()
    return schema if names is None else arrow().schema([schema.field(name) for name in names])


def _plan_schema() -> Any:
    pa = arrow()
    return pa.schema([(name, pa.string() if name in TEXTS else pa.int64()) for name in PLANNED])


def _broken(path: Folder, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path} is missing.", "Run the same command again; it is written anew.")
    return DataError(f"{path} is broken: {error}.", AGAIN)
