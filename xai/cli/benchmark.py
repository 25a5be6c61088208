"""`xai benchmark`: which attribution methods can be trusted on this model and these images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xai.cli.options import Json, Lang, TrustCode, import_code_of
from xai.cli.output import PARTLY, guarded, interval_text, say, say_next, show, show_json, show_table
from xai.cli.running import RunOptions, carried_out, duration, is_partial, say_unusable, write_starter

if TYPE_CHECKING:
    from xai.bench import Summary

app = typer.Typer(
    no_args_is_help=True,
    help="Measure which attribution methods can be trusted: deletion, insertion and stricter tests.",
)

Run = Annotated[str, typer.Argument(help="Folder of a run: a path, or a URL that fsspec knows.")]


@app.command()
@guarded
def run(
    config: Annotated[Path, typer.Argument(help="YAML file: xai benchmark init writes one.")],
    options: RunOptions,
    trust_code: TrustCode = False,
    lang: Lang = "en",
    as_json: Json = False,
) -> None:
    """Run a benchmark, or go on with one that was stopped; then say what it shows.

    Every finished work item is a file of its own: a killed run loses at most the item at work, and the same
    command goes on after it.
    """
    from xai.bench import read_benchmark

    settings = read_benchmark(config, trust_code=trust_code)
    if options.dry_run:
        _show_estimate(config, as_json, trust_code)
        return
    result = carried_out(settings, options, trust_code)
    _summarise(str(result.folder), as_json)
    if is_partial(result):
        raise typer.Exit(PARTLY)


@app.command()
@guarded
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("benchmark.yaml"),
) -> None:
    """Write a commented configuration that runs as it is."""
    from xai.bench import starter_config

    write_starter(path, starter_config(), f"xai benchmark run {path} --dry-run")


@app.command()
@guarded
def status(run: Run, as_json: Json = False) -> None:
    """How far a run is."""
    from xai.bench import status as look

    found = look(run)
    if as_json:
        show_json(found.as_dict())
        return
    rows = [[name, f"{done} of {units}"] for name, (done, units) in found.protocols.items()]
    show_table(["protocol", "work items done"], rows)
    left = "" if found.seconds_left is None else f", about {duration(found.seconds_left)} left"
    state = "finished" if found.done == found.units else "running" if found.running else "stopped"
    say(f"{found.name}: {state}; {found.done} of {found.units} work items, {found.records} records, "
        f"{found.exclusions} exclusions, {duration(found.seconds)} of work{left}.")  # fmt: skip


@app.command()
@guarded
def summary(run: Run, trust_code: TrustCode = False, lang: Lang = "en", as_json: Json = False) -> None:
    """Work out verdicts, tables and pictures of a run again, finished or not."""
    import_code_of(run, trust_code)
    _summarise(run, as_json)


@app.command()
@guarded
def compare(
    first: Run,
    second: Annotated[str, typer.Argument(help="Folder of another run.")],
    trust_code: TrustCode = False,
    lang: Lang = "en",
    as_json: Json = False,
) -> None:
    """Compare two runs image by image, where image, method, metric and protocol are the same."""
    from xai.bench import compare_runs
    from xai.core.language import gettext
    from xai.stats import phrase_comparison, to_json

    for one in (first, second):
        import_code_of(one, trust_code)
    pairs = compare_runs(first, second)
    if as_json:
        show_json([
            {"method": pair.method, "metric": pair.metric, "protocol": pair.protocol,
             "same_options": pair.same_method, "precisions": list(pair.precisions),
             **to_json(pair.comparison)}
            for pair in pairs
        ])  # fmt: skip
        return
    rows = [
        [pair.method, pair.metric, pair.protocol, f"{pair.comparison.difference:+.4g}",
         interval_text(pair.comparison.low, pair.comparison.high, "+.4g"), phrase_comparison(pair.comparison)]
        for pair in pairs
    ]  # fmt: skip
    header = [gettext("method"), gettext("metric"), gettext("protocol"), gettext("difference")]
    show_table([*header, gettext("{level} interval", level="95 %"), gettext("verdict")], rows)
    if warning := pairs[0].warning:
        say(gettext("Warning: {warning}", warning=warning))


@app.command()
@guarded
def export(
    run: Run,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="File; its ending says the format: .csv, .parquet.")
    ],
    trust_code: TrustCode = False,
) -> None:
    """Write all records of a run to one CSV or Parquet file."""
    from xai.bench import export as write

    import_code_of(run, trust_code)
    say(f"Wrote {write(run, out)} records to {out}.")


@app.command()
@guarded
def protocols(as_json: Json = False) -> None:
    """List the protocols: what is removed, in which order, and what is read."""
    from xai.metrics import PROTOCOLS

    if as_json:
        show_json([one.describe() | {"hash": one.hash} for one in PROTOCOLS.values()])
        return
    rows = [[name, one.hash, one.unit, one.operator.name, one.value, one.target, one.reference]
            for name, one in PROTOCOLS.items()]  # fmt: skip
    show_table(["protocol", "hash", "unit", "operator", "value", "class", "reference"], rows)


@app.command()
@guarded
def metrics(as_json: Json = False) -> None:
    """List the metrics: which direction is better, what they need, where they come from."""
    from xai.metrics import list_metrics

    infos = list_metrics()
    rows = [[info.name, "higher" if info.higher_is_better else "lower", _range(info.range), info.needs,
             info.reference] for info in infos]  # fmt: skip
    if as_json:
        names = ("metric", "better", "range", "needs", "reference")
        show_json([dict(zip(names, row, strict=True)) for row in rows])
        return
    show_table(["metric", "better", "range", "needs", "reference"], rows)


def _show_estimate(config: Path, as_json: bool, trust_code: bool) -> None:
    from xai.bench import estimate

    cost = estimate(config, trust_code=trust_code)
    content = cost.as_dict()
    if as_json:
        show_json(content)
        return
    show_table(["quantity", "value"], [
        ["images", str(content["images"])],
        *([["of them cannot be used", str(len(cost.unusable))]] if cost.unusable else []),
        ["methods and controls", str(cost.configurations)],
        ["work items", str(content["units"])],
        ["forward passes of perturbed images", str(cost.forwards)],
        ["time of one, in full batches", f"{1000 * cost.seconds_per_forward:.2f} ms"],
        ["device", cost.device],
        ["estimated time, checks not counted", duration(cost.seconds)],
    ])  # fmt: skip
    say_unusable(cost.unusable)
    say_next(f"xai benchmark run {config}")


def _summarise(where: str, as_json: bool) -> None:
    from xai.bench import summarise, write_summary
    from xai.bench.data.files import folder_of, written_through
    from xai.core.files import check_writable, write_bytes
    from xai.core.language import gettext
    from xai.report.render import write_pictures
    from xai.stats import mask_warning

    run = folder_of(where)
    if isinstance(run, Path):
        check_writable(run)
    found = summarise(run)
    with written_through(run) as folder:
        write_summary(found, folder / "summary.md")
        write_bytes(folder / "summary.json", _json(found.as_dict()))
        write_pictures(found.parts, folder / "pictures", agreement=found.agreement, stability=found.stability)
    if as_json:
        show_json(found.as_dict())
    else:
        _show_verdicts(found)
    for one in found.mask_warnings:
        say(gettext("Warning: {warning}", warning=mask_warning(one)))
    say(
        gettext(
            "Wrote {summary}, and pictures to {pictures}/.",
            summary=run / "summary.md",
            pictures=run / "pictures",
        )
    )
    say_next(f"xai report {run}")


def _show_verdicts(found: "Summary") -> None:
    from xai.core.language import gettext, ngettext
    from xai.stats import phrase

    for result in found.parts[:1]:
        title = gettext(
            "{metric} under {protocol}, {images}, {direction}:",
            metric=result.metric,
            protocol=result.protocol,
            images=ngettext("{n} image", "{n} images", result.analysis.images),
            direction=gettext("higher is better") if result.higher_is_better else gettext("lower is better"),
        )
        show(f"{title}\n")
        rows = [
            [
                one.name,
                f"{one.mean:.3f}",
                interval_text(one.low, one.high, ".3f"),
                f"{one.mean_rank:.2f}",
                phrase(one.verdict),
            ]
            for one in result.analysis.ranked
        ]
        interval = gettext("{level} interval", level=f"{100 * (1 - result.analysis.alpha):g} %")
        header = [gettext("method"), gettext("mean"), interval, gettext("mean rank")]
        show_table([*header, gettext("against random")], rows)


def _range(limits: tuple[float | None, float | None]) -> str:
    low, high = ("…" if limit is None else f"{limit:g}" for limit in limits)
    return f"{low} to {high}"


def _json(content: object) -> bytes:
    import json

    from xai.core import valid_text

    return valid_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
