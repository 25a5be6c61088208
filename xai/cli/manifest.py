"""`xai manifest`: folders of frames as others lay them out, as a table that everything else reads."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xai.cli.options import Json
from xai.cli.output import guarded, say, say_next, show_json, show_table

if TYPE_CHECKING:
    from xai.data.frame_folders import FoundFrames

LISTED = 5


@guarded
def manifest(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Files of dataset_json of DeepfakeBench or DF40, or the folder of them; or ExDDV.csv."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The manifest that is written.")] = Path(
        "manifest.csv"
    ),
    root: Annotated[
        list[str] | None,
        typer.Option(
            "--root",
            help="Folder below which the frames lie, or OLD=NEW: a beginning of the JSON's paths, and the "
            "folder in its place; repeatable. Default: found.",
        ),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="train, val or test.")] = "test",
    compression: Annotated[
        str, typer.Option("--compression", help="c23, c40 or raw, where a dataset has several.")
    ] = "c23",
    frames: Annotated[
        int, typer.Option("--frames", min=0, help="At most so many of a video, evenly over it; 0: all.")
    ] = 32,
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", help="Only this one of the files; repeatable.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="NAME=fake or NAME=real, where a label's name does not say it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a manifest of the frames that DeepfakeBench or DF40 list, or that somebody clicked on for ExDDV.

    Label, group (the video; of FaceForensics++ the people), kind, mask, landmarks and clicks go into it;
    `xai explain` and `data: {manifest: …}` of a benchmark read it. Frames that are missing are counted.

    Example: xai manifest dataset_json/FaceForensics++.json --root /data/rgb --frames 8
    """
    from xai.core.files import check_writable, expanded, write_bytes
    from xai.data.exddv import read_exddv
    from xai.data.frame_folders import read_dataset_json
    from xai.data.manifest import manifest_csv

    out = expanded(out)
    check_writable(out, is_file=True)
    if len(sources) == 1 and sources[0].lower().endswith(".csv"):
        found = read_exddv(sources[0], root or (), split=split)
    else:
        found = read_dataset_json(
            sources,
            root or (),
            split=split,
            compression=compression,
            frames=frames,
            datasets=dataset or (),
            labels=_labels(label or ()),
        )
    write_bytes(out, manifest_csv(found.rows, out.parent).encode())
    _show(found, out, as_json)
    say_next(f"xai explain {out} --config DETECTOR.yaml, or in a benchmark's file  data: {{manifest: {out}}}")


def _labels(given: "list[str] | tuple[()]") -> dict[str, str]:
    from xai.core import UsageError

    found = {}
    for text in given:
        name, _, label = text.rpartition("=")
        if not name or label not in ("real", "fake"):
            raise UsageError(f"--label {text!r} is not NAME=real or NAME=fake.")
        found[name] = label
    return found


def _show(found: "FoundFrames", out: Path, as_json: bool) -> None:
    from xai.core.files import short_path

    rows, counts = found.rows, found.counts()
    masks, points, clicks = (
        sum(getattr(row, name) not in (None, "") for row in rows) for name in ("mask", "landmarks", "clicks")
    )
    if as_json:
        show_json({
            "manifest": str(out), "images": len(rows), "videos": found.videos, "missing": len(found.missing),
            "masks": masks, "landmarks": points, "clicks": clicks, "groups": len({row.group for row in rows}),
            "kinds": [{"label": label, "kind": kind, "images": n} for (label, kind), n in counts.items()],
            "notes": found.notes, "missing_images": [str(one) for one in found.missing],
        })  # fmt: skip
    else:
        table = [[label or "", kind or "", str(n)] for (label, kind), n in sorted(counts.items(), key=str)]
        show_table(["label", "kind", "images"], table)
    for note in found.notes:
        say(f"{note}.")
    for path in found.missing[:LISTED]:
        say(f"Missing: {short_path(path)}")
    if len(found.missing) > LISTED:
        say(f"Missing: {len(found.missing) - LISTED} more")
    say(
        f"{len(rows)} images of {found.videos} videos in {len({row.group for row in rows})} groups, "
        f"{masks} with a mask, {points} with landmarks, {clicks} with clicks; "
        f"{len(found.missing)} listed and missing. Manifest: {out}"
    )
