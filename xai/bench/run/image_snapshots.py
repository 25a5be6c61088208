"""What a page needs of a run's images, kept beside the records: pictures, geometry, the model's answers."""

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter

from xai.bench.data.files import Folder, write_bytes
from xai.bench.data.parquet import arrow, read_columns

SCHEMA = "xai.views/1"
LONGEST = 320  # side of a picture in pixels
ONE_COLOUR = ("mean", "minimum", "constant")  # operators that paint a removed patch in one colour
Number = Annotated[float, Field(allow_inf_nan=False)]
Side = Annotated[int, Field(ge=1, lt=2**31)]
Box = tuple[Number, Number, Number, Number]


def _not_empty(box: Box) -> Box:
    if not (box[0] < box[2] and box[1] < box[3]):
        raise ValueError("a part of an image has left < right and top < bottom")
    return box


VisibleBox = Annotated[Box, AfterValidator(_not_empty)]
Colour = Annotated[str, Field(pattern="^#[0-9a-f]{6}$")]


@dataclass(frozen=True)
class ImageSnapshot:
    """One image as a page shows it, without the model and the data.

    Args:
        index: Place in the data.
        id: Sample id.
        name: File name, or the id of an image that was made on the fly.
        group: What it is a frame or crop of; its own id if nothing.
        label: True class name, if known.
        width: Of the original, in pixels.
        height: Likewise.
        input_size: (height, width) of the model's input.
        seen: (left, top, right, bottom) of the original that the input shows; may reach beyond it.
        view: (left, top, right, bottom) of the original that the picture shows.
        box: (x, y, width, height) of the crop that was explained, None for all of the image.
        sha256: Of the image file; None for an image that was made on the fly.
        input_hash: sha256 of the model's input, from which the seeds of its ties derive.
        logits: (classes,) the model's answer.
        picture: WebP.
        mask: PNG at the picture's size, white where tampered with; None if not known.
        fills: Title of an operator → #rrggbb in the place of a removed patch, as the model saw it; empty
            where the classifier does not say how it normalises.
    """

    index: int
    id: str
    name: str
    group: str
    label: str | None
    width: Side
    height: Side
    input_size: tuple[Side, Side]
    seen: VisibleBox
    view: VisibleBox
    box: Box | None
    sha256: str | None
    input_hash: str
    logits: tuple[Number, ...]
    picture: bytes
    mask: bytes | None
    fills: Mapping[str, Colour]


_VIEW = TypeAdapter(ImageSnapshot)


def snapshots_path(run: Folder, shard: int) -> Folder:
    """Where a shard's views are kept."""
    return run / "views" / f"{shard:05d}.parquet"


def write_snapshots(path: Folder, views: Sequence[ImageSnapshot]) -> None:
    """Write the views of a shard as a whole.

    Raises:
        DataError: The disk objects.
    """
    rows = [asdict(one) | {"fills": json.dumps(one.fills)} for one in views]
    buffer = BytesIO()
    table = arrow().Table.from_pylist(rows, schema=_schema())
    _parquet().write_table(table, buffer, write_page_checksum=True)
    write_bytes(path, buffer.getvalue())


def read_snapshots(path: Folder) -> list[ImageSnapshot] | None:
    """Views of a shard; None where there is no such file, or a broken one, or one of another version."""
    if not path.exists():
        return None
    try:
        table = read_columns(path, _schema(), nulls=("label", "mask", "box", "sha256"))
        if (table.schema.metadata or {}).get(b"xai") != SCHEMA.encode():
            return None
        rows = [{name: _restored(name, value) for name, value in row.items()} for row in table.to_pylist()]
        views = [_VIEW.validate_python(row) for row in rows]
    except Exception:  # pyarrow raises whatever the broken bytes make it
        return None
    return views if len({one.id for one in views}) == len(views) else None


def snapshots_are_whole(path: Folder) -> bool:
    """Whether `read_snapshots` will read them."""
    return read_snapshots(path) is not None


def _restored(name: str, value: Any) -> Any:
    if name == "fills":
        return json.loads(value)
    return tuple(value) if isinstance(value, list) else value


def _schema() -> Any:
    pa = arrow()
    floats, text = pa.list_(pa.float64()), pa.string()
    types = {
        "index": pa.int64(),
        "id": text,
        "name": text,
        "group": text,
        "label": text,
        "width": pa.int64(),
        "height": pa.int64(),
        "input_size": pa.list_(pa.int64()),
        "seen": floats,
        "view": floats,
        "box": floats,
        "sha256": text,
        "input_hash": text,
        "logits": floats,
        "picture": pa.binary(),
        "mask": pa.binary(),
        "fills": text,
    }
    return pa.schema(types.items(), metadata={"xai": SCHEMA})


def _parquet() -> Any:
    arrow()  # says what to install
    return importlib.import_module("pyarrow.parquet")
