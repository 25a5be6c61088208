"""Parquet with pyarrow, an extra: a file is read as a whole or refused, with its columns and types."""

import importlib
from collections.abc import Collection
from typing import Any

import numpy as np

from xai.bench.data.files import Folder
from xai.core import UsageError


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


def to_numpy(array: Any) -> np.ndarray:
    """Numbers or truth values of an Arrow array, as its own method gives them; that one imports pandas."""
    if array.null_count:
        return array.to_numpy(zero_copy_only=False)
    if arrow().types.is_boolean(array.type):
        return np.from_dlpack(array.cast("uint8")).view(bool)
    return np.from_dlpack(array)


def rows_of(table: Any, places: np.ndarray) -> list[dict[str, Any]]:
    """Some rows of an Arrow table; its method `take` imports pandas for numbers that are none of Arrow's."""
    pa, places = arrow(), np.ascontiguousarray(places, np.int64)
    indices = pa.Array.from_buffers(pa.int64(), len(places), [None, pa.py_buffer(places)])
    return table.take(indices).to_pylist()


def read_columns(
    path: Folder, schema: Any, *, nulls: Collection[str] = (), lacks: Collection[str] = ()
) -> Any:
    """The columns of a schema as an Arrow table with the file's own notes.

    Args:
        path: Of the file.
        schema: Names and types, which must be the file's; columns of dictionaries are read as such, which is
            quicker where the same texts come again and again.
        nulls: Columns whose cells may be null.
        lacks: Columns that a file of an older version may lack; they are null then.

    Raises:
        ValueError: A column is missing, of another type, or has a null; texts that are no UTF-8.
        Exception: Whatever pyarrow makes of broken bytes.
    """
    pa = arrow()
    with path.open("rb") as stream:
        parquet = importlib.import_module("pyarrow.parquet")
        footer = parquet.read_metadata(stream)
        names = {footer.schema.column(place).path for place in range(footer.num_columns)}
        file = parquet.ParquetFile(
            stream,
            metadata=footer,
            page_checksum_verification=True,
            read_dictionary=[
                one.name for one in schema if pa.types.is_dictionary(one.type) and one.name in names
            ],
        )
        there = file.schema_arrow
        for field in schema:
            at = there.get_all_field_indices(field.name)
            if len(at) > 1 or (not at and field.name not in lacks):
                raise ValueError(f"it has {len(at) or 'no'} columns {field.name!r}")
            if at and not _same(there.field(at[0]).type, field.type):
                raise ValueError(
                    f"the column {field.name!r} holds {there.field(at[0]).type}, not {_items(field.type)}"
                )
        table = file.read([name for name in schema.names if there.get_all_field_indices(name)])
    table.validate(full=True)
    for name in table.column_names:
        column = table[name]
        inside = pa.compute.list_flatten(column).null_count if pa.types.is_list(column.type) else 0
        if inside or (column.null_count and name not in nulls):
            raise ValueError(f"the column {name!r} has cells without a value")
    columns = [
        table[name].cast(schema.field(name).type)
        if name in table.column_names
        else pa.nulls(table.num_rows, schema.field(name).type)
        for name in schema.names
    ]
    return pa.table(columns, schema=schema.with_metadata(there.metadata))


def _same(found: Any, wanted: Any) -> bool:
    """Whether two types are one; what the items of a list are called does not matter."""
    types = importlib.import_module("pyarrow").types
    if types.is_list(found) and types.is_list(wanted):
        return found.value_type == wanted.value_type
    return found == wanted


def _items(kind: Any) -> Any:
    """The type of the texts in a dictionary, or the type itself."""
    return kind.value_type if importlib.import_module("pyarrow").types.is_dictionary(kind) else kind
