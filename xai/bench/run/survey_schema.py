"""Columns of a survey's parts; reading them needs no model."""

from typing import Any

from xai.bench.data.parquet import arrow

FACE_FRAME, CROP_FRAME = "face", "crop"
SHARES = ("positive", "negative", "area")
"""Columns of one share for each of `xai.data.face_parts.PARTS`: of the relevance for the class, of that
against it, and of the area; null where no landmarks are known."""
MAY_BE_NULL = ("label", "kind", *SHARES)
NO_LANDMARKS = "no landmarks are known, and frame: face needs them"


def schema() -> Any:
    """Columns of a survey's parts.

    `place` is that of the image in the data; `frame` is `face` or `crop`; `map` is the relevance in it,
    `rows` times `cols`; `level` is the mean absolute relevance of the patches, before they were turned to the
    frame; `outside` the share of the frame that the input does not show; then `SHARES`.
    """
    pa = arrow()
    texts = dict.fromkeys(
        ("image", "group", "label", "kind", "predicted", "target", "method", "frame"), pa.string()
    )
    numbers = {
        "place": pa.int64(),
        "rows": pa.int64(),
        "cols": pa.int64(),
        "level": pa.float64(),
        "outside": pa.float64(),
    }
    lists = {"logits": pa.list_(pa.float32()), "map": pa.list_(pa.float32())}
    lists |= dict.fromkeys(SHARES, pa.list_(pa.float64()))
    return pa.schema((texts | numbers | lists).items())


def named_columns(*names: str) -> Any:
    """Some of the columns."""
    return arrow().schema([schema().field(name) for name in names])
