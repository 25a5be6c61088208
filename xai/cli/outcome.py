"""How a run over many images went: what is shown of it, and the exit code."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from xai.cli.guard import MISSING, PARTLY
from xai.cli.output import say, say_next, show_json, show_table
from xai.cli.signals import interrupted

if TYPE_CHECKING:
    from xai.core import XaiError
    from xai.explanation import Explained, Failure, PageBuilder
    from xai.report.payload import Page

HEAVY_PAGE = 100_000_000  # bytes


def say_failures(failures: "Iterable[Failure]") -> None:
    """A line per image that could not be explained."""
    from xai.core.language import gettext

    for failure in failures:
        text = str(failure.error)
        reason = text if text.startswith(failure.name) else f"{failure.name}: {text}"
        say(gettext("Failed: {reason}", reason=reason))


def write_page(page: "Page", out: Path) -> Path:
    """Write `index.html`, and say so if it is too large to be read with ease."""
    from xai import report
    from xai.core.language import gettext
    from xai.explanation import writing

    path = out / "index.html"
    with writing(out):
        report.write_page(page, path)
        size = path.stat().st_size
    if size > HEAVY_PAGE:
        say(
            gettext(
                "{path} has {size} MB, which browsers are slow with: explain fewer images at once.",
                path=path,
                size=f"{size / 1e6:.0f}",
            )
        )
    return path


@dataclass
class Outcome:
    """Results and failures of one run, in order.

    Args:
        total: Images asked for.
        out: Where the results are.
        builder: Makes the HTML page, if there is to be one.
    """

    total: int
    out: Path
    builder: "PageBuilder | None" = None
    records: list[dict[str, Any]] = field(default_factory=list)
    failures: list["Failure"] = field(default_factory=list)
    interrupted: bool = False
    stopped: "XaiError | None" = None

    def add(self, result: "Explained | Failure") -> None:
        """Count one image and put it into the page, which goes on without one that it cannot take."""
        from xai.core import DataError, ModelError
        from xai.core.language import gettext
        from xai.explanation import Failure

        if isinstance(result, Failure):
            self.failures.append(result)
            return
        self.records.append(result.record)
        if self.builder is None:
            return
        try:
            self.builder.add(result.explanation)
        except (DataError, ModelError) as error:
            name = result.record["image"]["id"]
            say(gettext("{name} is left out of the page: {reason}", name=name, reason=error.message))

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """A run that is interrupted or cannot write any more still shows what it finished."""
        from xai.explanation import OutputError

        try:
            yield
        except KeyboardInterrupt:
            self.interrupted = True
        except OutputError as error:
            self.stopped = error

    def write_page(self, title: str | None = None) -> None:
        """Write the HTML page of what was explained, if there is to be one and anything was."""
        if self.builder is not None and self.builder.images:
            with self.collecting():
                write_page(self.builder.page(title), self.out)

    def show(self, as_json: bool) -> None:
        """Print the results: a line per image, or everything as one JSON object."""
        from xai.core.language import gettext

        if as_json:
            failures = [{"image": one.name, "error": str(one.error)} for one in self.failures]
            show_json({"out": str(self.out), "explanations": self.records, "failures": failures})
        elif self.records:
            rows = [
                [
                    record["image"]["path"] or record["image"]["id"],
                    record["predicted"],
                    f"{record['probabilities'][record['predicted']]:.3f}",
                    gettext("; ").join(record["warnings"]),
                ]
                for record in self.records
            ]
            show_table([gettext("image"), gettext("predicted"), gettext("probability"), ""], rows)

    def finish(self, advice: str) -> None:
        """Say how it went and what to do next; leave with the exit code that stands for it."""
        from xai.core.language import gettext

        done, failed = len(self.records), len(self.failures)
        say_failures(self.failures)
        if self.stopped is not None:
            say(f"Error: {self.stopped}")
        elif self.interrupted:
            say(gettext("Interrupted. What is listed as explained is complete on disk."))
        missing = self.total - done - failed
        counts = [gettext("{n} of {total} images explained", n=done, total=self.total)]
        counts += [gettext("{n} failed", n=failed)] if failed else []
        counts += [gettext("{n} not reached", n=missing)] if missing else []
        line = gettext(", ").join(counts)
        say(
            gettext("{counts}. Results: {folder}/", counts=line, folder=self.out)
            if done
            else gettext("{counts}.", counts=line)
        )
        if self.interrupted or self.stopped is not None:
            say_next(gettext("run the same command again; files that are there are replaced by the same."))
        elif not done:
            say_next(gettext("check the paths; xai demo shows a run that works."))
        else:
            say_next(advice)
        code = self._exit_code()
        if code:
            raise typer.Exit(code)

    def _exit_code(self) -> int:
        if self.interrupted:
            return interrupted()
        if not self.records:
            return MISSING
        return PARTLY if self.failures or self.stopped else 0
