"""The records of a run in one file."""

import importlib
import json
from io import BytesIO
from pathlib import Path

from xai.bench.data.files import Folder, write_bytes
from xai.bench.run.store import Store, read_records, read_run
from xai.core import UsageError
from xai.core.files import check_writable

FORMATS = ("csv", "parquet")


def export(run: str | Folder, path: str | Path) -> int:
    """Write all records into one file, `.csv` or `.parquet`; curves in CSV are JSON lists.

    Returns:
        The number of records.

    Raises:
        UsageError: Another format.
        OutputError: The disk objects.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise UsageError(f"Cannot export to {path.name!r}.", "Give a file that ends in .csv or .parquet.")
    check_writable(path, is_file=True)
    buffer = BytesIO()
    read_run(run).scored(run)
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
