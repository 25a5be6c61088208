"""`xai survey`: what a detector looks at, over many images."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from xai.cli.options import Json, Lang, TrustCode
from xai.cli.output import PARTLY, guarded, say, say_next, show, show_json, show_table
from xai.cli.running import RunOptions, carried_out, duration, is_partial, say_unusable, write_starter


class _RunByDefault(TyperGroup):
    """`xai survey CONFIG` is `xai survey run CONFIG`."""

    default = "run"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = [self.default, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_RunByDefault,
    no_args_is_help=True,
    help="See what a detector looks at overall: mean maps by label, answer and manipulation, shares of face "
    "parts, odd images. xai survey CONFIG runs one.",
)

Run = Annotated[str, typer.Argument(help="Folder of a survey: a path, or a URL that fsspec knows.")]


@app.command()
@guarded
def run(
    config: Annotated[Path, typer.Argument(help="YAML file: xai survey init writes one.")],
    options: RunOptions,
    trust_code: TrustCode = False,
    lang: Lang = "en",
    as_json: Json = False,
) -> None:
    """Run a survey, or go on with one that was stopped; then say what it shows.

    Each image is explained once by each method. Every finished work item is a file of its own: a killed run
    loses at most the item at work, and the same command goes on after it.
    """
    from xai.bench import read_survey

    settings = read_survey(config, trust_code=trust_code)
    if options.dry_run:
        _show_estimate(config, as_json, trust_code)
        return
    result = carried_out(settings, options, trust_code)
    _summarise(str(result.folder), as_json)
    if is_partial(result):
        raise typer.Exit(PARTLY)


@app.command()
@guarded
def init(path: Annotated[Path, typer.Argument(help="File to write.")] = Path("survey.yaml")) -> None:
    """Write a commented configuration that runs as it is."""
    from xai.bench import starter_survey

    write_starter(path, starter_survey(), f"xai survey {path} --dry-run")


@app.command()
@guarded
def summary(run: Run, lang: Lang = "en", as_json: Json = False) -> None:
    """Work out again what a survey found, finished or not, and write its files."""
    _summarise(run, as_json)


@app.command()
@guarded
def compare(
    first: Run,
    second: Annotated[str, typer.Argument(help="Folder of another survey, whose maps are subtracted.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write: .html, .md or .json, by its ending.")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            help="FIRST,SECOND: the method of each survey, by its name there. Default: the first that both "
            "have. Name one survey twice to compare two of its methods.",
        ),
    ] = None,
    lang: Lang = "en",
    as_json: Json = False,
) -> None:
    """Compare two surveys on the same images: two detectors, or two methods."""
    from xai.bench import compare_surveys
    from xai.core import UsageError
    from xai.core.files import check_writable, json_text, write_bytes
    from xai.report.survey_page import comparison_markdown, comparison_page

    writers = {
        ".md": comparison_markdown,
        ".html": comparison_page,
        ".json": lambda one: json_text(one.as_dict()),
    }
    if out is not None and out.suffix not in writers:
        raise UsageError(
            f"Cannot write a comparison to {out.name!r}.", f"Its ending is one of: {', '.join(writers)}."
        )
    one, comma, other = (methods or "").partition(",")
    if methods is not None and not (one and comma and other):
        raise UsageError(f"--methods {methods!r} are not two.", "Give FIRST,SECOND.")
    if out is not None:
        check_writable(out, is_file=True)
    found = compare_surveys(first, second, (one.strip(), other.strip()) if methods else None)
    if out is not None:
        write_bytes(out, writers[out.suffix](found).encode())
        say(f"Wrote {out}.")
    if as_json:
        show_json(found.as_dict())
    elif out is None:
        show(comparison_markdown(found).rstrip())


def _show_estimate(config: Path, as_json: bool, trust_code: bool) -> None:
    from xai.bench import estimate, read_survey

    cost = estimate(read_survey(config, trust_code=trust_code), trust_code=trust_code)
    if as_json:
        show_json(cost.as_dict())
        return
    show_table(["quantity", "value"], [
        ["images", str(len(cost.plan.source))],
        *([["of them cannot be used", str(len(cost.unusable))]] if cost.unusable else []),
        ["work items", str(len(cost.plan.work_items))],
        *[[f"time of a map by {name}", f"{1000 * seconds:.0f} ms"]
          for name, seconds in cost.seconds_per_map.items()],
        ["device", cost.device],
        ["estimated time, reading not counted", duration(cost.seconds)],
    ])  # fmt: skip
    say_unusable(cost.unusable)
    say_next(f"xai survey {config}")


def _summarise(where: str, as_json: bool) -> None:
    from xai.bench import write_survey
    from xai.bench.data.files import folder_of
    from xai.core.language import gettext
    from xai.report.survey import answers_table, contrast_note, counts, section_title

    run, found = folder_of(where), write_survey(where)
    if as_json:
        show_json(found.as_dict())
    else:
        say(counts(found))
        answers = answers_table(found)
        show_table(
            [column.title for column in answers.columns],
            [[cell.text for cell in line.cells] for line in answers.lines],
        )
        for section in found.sections:
            show(f"\n{section_title(section)}")
            for one in section.contrasts:
                show(contrast_note(one, found.alpha))
    say(
        gettext(
            "Wrote {summary}, the page {page} and a table of all images, {table}.",
            summary=run / "summary.md",
            page=run / "report.html",
            table=run / "images.csv",
        )
    )
    say_next(gettext("open {path}", path=run / "report.html"))
