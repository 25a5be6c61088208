"""`xai report`: a benchmark run as one page to read and send on."""

from pathlib import Path
from typing import Annotated

import typer

from xai.cli.options import Json, Lang, TrustCode, import_code_of
from xai.cli.output import guarded, say, say_next, show_json

MEGABYTE = 1e6


@guarded
def report(
    run: Annotated[Path, typer.Argument(help="Folder of a benchmark run, finished or not.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write; default RUN/report.html.")
    ] = None,
    images: Annotated[
        int | None, typer.Option("--images", min=1, help="Images to show, drawn at random; default 200.")
    ] = None,
    all_images: Annotated[bool, typer.Option("--all-images", help="Show every image.")] = False,
    data_only: Annotated[
        bool, typer.Option("--data-only", help="Write the page's data alone; default RUN/report.json.")
    ] = False,
    trust_code: TrustCode = False,
    lang: Lang = "en",
    as_json: Json = False,
) -> None:
    """Write a run as one interactive HTML file that opens from disk and loads nothing.

    Everything comes from the run's folder: neither the model nor the images are needed. The statistics are
    about all images, whichever are shown.
    """
    from xai.bench import page_of_run
    from xai.bench.results.page import SAMPLED
    from xai.core import UsageError
    from xai.core.files import check_writable, disk_errors
    from xai.core.language import gettext
    from xai.report import write_data, write_page

    if all_images and images is not None:
        raise UsageError("--images and --all-images contradict each other.", "Give one of them.")
    import_code_of(str(run), trust_code)
    path = out or run / ("report.json" if data_only else "report.html")
    check_writable(path, is_file=True)
    page = page_of_run(run, images=None if all_images else images or SAMPLED)
    with disk_errors(path):
        (write_data if data_only else write_page)(page, path)
    size, (drawn, total) = path.stat().st_size, page.shown
    say(
        gettext(
            "Wrote {path}: {title}, {shown} of {total} images, {size} MB.",
            path=path,
            title=page.title,
            shown=drawn,
            total=total,
            size=f"{size / MEGABYTE:.1f}",
        )
    )
    if as_json:
        show_json({"file": str(path), "bytes": size, "images": drawn, "of": total})
    say_next(gettext("open {path}", path=path))
