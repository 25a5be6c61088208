"""The pictures of a benchmark's manifest in one file: WebDataset tar, Parquet."""

import csv
import json
import tarfile
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet


def rows(photos: Path, numbers):
    with (photos / "faces.csv").open() as file:
        table = list(csv.DictReader(file))
    return [table[number] for number in numbers]


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, BytesIO(content))


def write_tar(path: Path, photos: Path, numbers) -> Path:
    """`0.png`, `0.json` and, where there is one, `0.mask.png` …"""
    with tarfile.open(path, "w") as tar:
        for row in rows(photos, numbers):
            key = Path(row["path"]).stem
            add(tar, f"{key}.png", (photos / row["path"]).read_bytes())
            add(tar, f"{key}.json", json.dumps({"label": row["label"], "group": row["group"]}).encode())
            if row["mask"]:
                add(tar, f"{key}.mask.png", (photos / row["mask"]).read_bytes())
    return path


def write_parquet(path: Path, photos: Path, numbers, row_group_size: int = 1, struct: bool = False) -> Path:
    def content(name):
        found = (photos / name).read_bytes() if name else None
        return {"bytes": found, "path": name} if struct else found

    table = pa.Table.from_pylist(
        [
            {
                "path": Path(row["path"]).stem,
                "image": content(row["path"]),
                "mask": content(row["mask"]),
                "label": row["label"],
                "group": row["group"],
            }
            for row in rows(photos, numbers)
        ]
    )
    parquet.write_table(table, path, row_group_size=row_group_size)
    return path
