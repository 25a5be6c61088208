"""What `xai benchmark` and `xai survey` share: a run that is begun, watched, interrupted, gone on with."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xai.cli.options import RESULTS
from xai.cli.output import interrupted, live_line, say, say_next

if TYPE_CHECKING:
    from xai.bench import BenchmarkConfig, Progress, RayOptions, RunResult

MAX_LISTED = 5  # failed work items, images that cannot be used; the others are counted


@dataclass(frozen=True)
class RunOptions:
    """The options that say where a run goes, and who works."""

    out: Annotated[
        str | None,
        typer.Option(
            "--out", "-o", help="Folder of the run, a path or a URL (s3://…); default attention_results/NAME."
        ),
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would cost, measured on one batch; write nothing.")
    ] = False
    engine: Annotated[
        str, typer.Option("--engine", help="Who works: local, this process; ray, workers of a Ray cluster.")
    ] = "local"
    ray_address: Annotated[
        str | None,
        typer.Option("--ray-address", help="A running cluster, auto for this machine's; default: start one."),
    ] = None
    ray_workers: Annotated[
        int | None,
        typer.Option("--ray-workers", help="How many at most; default: as many as there is room for."),
    ] = None
    ray_gpus: Annotated[
        float | None,
        typer.Option("--ray-gpus", help="GPUs of each worker; default: 1 with device: cuda, else 0."),
    ] = None
    ray_retries: Annotated[
        int, typer.Option("--ray-retries", help="How often a shard is tried again whose worker died.")
    ] = 2

    def ray(self) -> "RayOptions | None":
        """How workers are spread; None where this process works alone."""
        from xai.bench import RayOptions

        given = {"address": self.ray_address, "workers": self.ray_workers, "gpus": self.ray_gpus}
        if self.engine != "ray" and all(one is None for one in given.values()):
            return None
        return RayOptions(
            address=self.ray_address, workers=self.ray_workers, gpus=self.ray_gpus, retries=self.ray_retries
        )


def carried_out(settings: "BenchmarkConfig", options: RunOptions, trust_code: bool) -> "RunResult":
    """Run what is configured, or go on with it; say what was done and what could not be."""
    from xai.bench import run_benchmark
    from xai.bench.data.files import folder_of
    from xai.core.language import gettext

    folder = folder_of(options.out or RESULTS / settings.name)
    try:
        with _progress() as tell:
            result = run_benchmark(
                settings,
                folder,
                progress=tell,
                engine=options.engine,
                ray=options.ray(),
                trust_code=trust_code,
            )
    except KeyboardInterrupt:
        say(gettext("Interrupted. Finished work is kept in {folder}/.", folder=folder))
        say_next(gettext("run the same command again; it goes on where it stopped."))
        raise typer.Exit(interrupted()) from None
    passes = f"{result.forwards} forward passes, " if result.forwards or settings.metrics else ""
    say(
        f"{result.work_items} work items ({result.resumed} were done before), {passes}{result.seconds:.0f} s."
    )
    if unused := _unused(result):
        say(f"{len(unused)} of {result.images} images could not be used; {folder / 'summary.md'} says why.")
    for one in result.failed[:MAX_LISTED]:
        say(f"Work item {one.item.key} (images {one.item.start} to {one.item.stop - 1}, {one.item.protocol}) "
            f"{one.failure}")  # fmt: skip
    if result.failed:
        say(f"{len(result.failed)} of {result.work_items} work items failed; "
            "the same command tries them again.")  # fmt: skip
    return result


def write_starter(path: Path, text: str, advice: str) -> None:
    """Write a configuration to begin with, where no file is yet."""
    from xai.core import UsageError
    from xai.core.files import check_writable, write_bytes

    if path.exists():
        raise UsageError(f"{path} exists already.", "Name another file.")
    check_writable(path, is_file=True)
    write_bytes(path, text.encode())
    say(f"Wrote {path}.")
    say_next(advice)


def say_unusable(images: Sequence[tuple[str, str]]) -> None:
    """The first images of an estimate that cannot be used, and why."""
    for name, reason in images[:MAX_LISTED]:
        say(f"{name} cannot be used: {reason}.")
    if len(images) > MAX_LISTED:
        say(f"… and {len(images) - MAX_LISTED} more.")


def is_partial(result: "RunResult") -> bool:
    """Whether images could not be used, or work items failed."""
    return bool(_unused(result) or result.failed)


def _unused(result: "RunResult") -> set[str]:
    """Images that no method could take; a survey is one protocol, so what it leaves out counts too."""
    everything = ("*", "survey")
    return {one.image for one in result.exclusions if one.method == "*" and one.protocol in everything}


@contextmanager
def _progress() -> "Iterator[Callable[[Progress], None]]":
    """Rate and time left."""
    with live_line() as say_meanwhile:

        def tell(state: "Progress") -> None:
            text = f"{state.done} of {state.total} work items"
            if state.workers != 1:
                text += f", {state.workers} workers"
            if state.failed:
                text += f", {state.failed} failed"
            if state.seconds_left is not None:
                rate = f", {state.rate:.0f} forward passes/s" if state.rate else ""
                text += f"{rate}, {duration(state.seconds_left)} left"
            say_meanwhile(text)

        yield tell


def duration(seconds: float) -> str:
    """`1 h 5 min`, `12 min 3 s`, `40 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
