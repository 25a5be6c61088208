"""Hostile and broken shards: tar and Parquet."""

import io
import json
import tarfile
from pathlib import Path
from random import Random
from typing import Any

import yaml

from benchmarks.robustness.images import odd_image
from benchmarks.robustness.mutate import DEEP, NAMES, broken_bytes, changed_tree, odd_value
from benchmarks.robustness.tables import odd_column
from benchmarks.robustness.valid import LARGE, SMALL, Valid, shard_rows, tar_bytes, tar_members
from benchmarks.robustness.watch import MARKER

TYPES = (
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.CHRTYPE,
    tarfile.FIFOTYPE,
    tarfile.DIRTYPE,
    tarfile.GNUTYPE_SPARSE,
    tarfile.CONTTYPE,
    b"x",
    b"g",
    b"L",
    b"Z",
    b"\x00",
)


def make(rng: Random, valid: Valid, folder: Path) -> list[str]:
    """One shard, or a good one beside it: asked what its benchmark would cost, or run."""
    rows = shard_rows(valid.photos)[: rng.choice((1, 2, 5))]
    path = folder / ("s.tar" if rng.random() < 0.55 else "s.parquet")
    content = odd_tar(rng, valid, rows) if path.suffix == ".tar" else odd_parquet(rng, valid, rows)
    path.write_bytes(broken_bytes(rng, content) if rng.random() < 0.25 else content)
    shards = [str(path)] if rng.random() < 0.7 else [str(path), str(valid.tar)]
    small = rng.random() < 0.7
    config = {
        "name": "b",
        "model": {"config": str(valid.detector)},
        "data": {"shards": shards},
        **(SMALL if small else LARGE),
    }
    (folder / "b.yaml").write_text(yaml.safe_dump(config))
    if small and rng.random() < 0.4:
        return ["benchmark", "run", str(folder / "b.yaml"), "--out", "run"]
    return ["benchmark", "run", str(folder / "b.yaml"), "--dry-run"]


def odd_tar(rng: Random, valid: Valid, rows: list[dict]) -> bytes:
    """Members changed: content, order, names, types, sizes."""
    members = tar_members(rows)
    for _ in range(rng.choice((0, 1, 1, 2))):
        members = _changed_members(rng, valid, members)
    chosen = rng.choice(members)[0] if members else ""
    mode, pick = rng.choice(TYPES), rng.randrange(10)

    def change(member: tarfile.TarInfo) -> None:
        if member.name != chosen:
            return
        if pick == 0:
            member.type, member.linkname = mode, rng.choice(("/etc/hostname", "../../x", member.name, "no"))
        elif pick == 1:
            member.name = f"../../../{MARKER}"
        elif pick == 2:
            member.name = rng.choice(NAMES).replace("\x00", "") or "x"
        elif pick == 3:
            member.mtime, member.uid = -1, 2**40
        elif pick == 4:
            member.pax_headers = {
                rng.choice(("path", "size", "GNU.sparse.size", "x")): rng.choice(
                    ("-1", "x", "9" * 30, "../x")
                )
            }

    formats = (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)
    try:
        data = tar_bytes(members, change, format=rng.choice(formats))
    except (ValueError, tarfile.TarError, UnicodeError):  # a header that this format cannot say
        data = tar_bytes(members)
    if rng.random() < 0.15 and members:
        data = _lying_header(rng, data)
    if rng.random() < 0.05:
        import gzip

        data = gzip.compress(data, mtime=0)
    return data


def _changed_members(rng: Random, valid: Valid, members: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    if not members:
        return members
    at = rng.randrange(len(members))
    name, content = members[at]
    how = rng.randrange(9)
    if how < 2:
        image, suffix = odd_image(rng, valid)
        members[at] = (f"{name.partition('.')[0]}.{suffix}" if how else name), image
    elif how < 4:
        members[at] = f"{name.partition('.')[0]}.json", _odd_json(rng)
    elif how == 4:
        members[at] = (
            f"{name.partition('.')[0]}.cls",
            rng.choice((b"", b"fake", b"\xff\xff", b"x" * 9999, b"0", b"a\x00b")),
        )
    elif how == 5:
        del members[at]
    elif how == 6:
        members.insert(rng.randrange(len(members)), members[at])
    elif how == 7:
        rng.shuffle(members)
    else:
        members[at] = (
            rng.choice(NAMES).replace("\x00", "").encode("utf-8", "replace").decode() + ".png",
            content,
        )
    return members


def _odd_json(rng: Random) -> bytes:
    if rng.random() < 0.3:
        return rng.choice(("[", '{"a":', "[[],")).encode() * rng.choice(DEEP)
    said = {"label": "fake", "group": "a", "kind": "noise"}
    if rng.random() < 0.3:
        return rng.choice(
            (
                b"",
                b"{",
                b"[]",
                b"7",
                b"\xff",
                b'{"label": 1e999}',
                b'{"label": ' + b"9" * 5000 + b"}",
                b"NaN",
                b'{"label": "\\ud800"}',
                b'{"label": 1, "label": 2}',
                b'"x"',
            )
        )
    return json.dumps(changed_tree(rng, said)).encode("utf-8", "surrogatepass")


def _lying_header(rng: Random, data: bytes) -> bytes:
    """A size that is not the member's, the checksum right again."""
    header = bytearray(data[:512])
    header[124:136] = rng.choice(
        (
            b"77777777777\x00",
            b"00000000000\x00",
            b"xxxxxxxxxxx\x00",
            b"\x80" + b"\xff" * 11,
            b"\xff" * 12,
            b"00000000001\x00",
        )
    )
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\x00 ".encode()
    return bytes(header) + data[512:]


def odd_parquet(rng: Random, valid: Valid, rows: list[dict]) -> bytes:
    """Columns of other types, images that are none, structs as the library datasets writes them."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    struct = rng.random() < 0.3
    for row in rows:
        if rng.random() < 0.3:
            row[rng.choice(("image", "mask"))] = rng.choice((None, b"", odd_image(rng, valid)[0]))
        if rng.random() < 0.2:
            row[rng.choice(("path", "label", "group", "kind"))] = rng.choice(
                (None, "", "a\x00b", "x" * 9999, "..", "a/b")
            )
        if struct:
            row["image"] = {"bytes": row["image"], "path": row["path"]}
    columns: dict[str, Any] = pa.Table.from_pylist(rows).to_pydict()
    table = {name: pa.array(values) for name, values in columns.items()}
    for name in rng.sample(list(table), rng.choice((0, 0, 1, 1, 2))):
        pick = rng.randrange(4)
        if pick < 2:
            table[name] = odd_column(rng, len(rows))
        elif pick == 2:
            del table[name]
        else:
            table[str(odd_value(rng))[:50].encode("utf-8", "replace").decode()] = table.pop(name)
    made = pa.table(table) if table else pa.table({"x": []})
    if rng.random() < 0.1:
        made = made.slice(0, 0)
    buffer = io.BytesIO()
    parquet.write_table(made, buffer, row_group_size=rng.choice((1, 2, 100)))
    return buffer.getvalue()
