"""What a run over images and videos shows in the end, and its exit code."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import SpooledTemporaryFile
from textwrap import indent
from typing import IO, TYPE_CHECKING, Any

import typer

from xai.cli.output import (
    MISSING,
    PARTLY,
    interrupted,
    probability_text,
    say,
    say_failures,
    say_next,
    show_json,
    show_table,
    write_page,
)

if TYPE_CHECKING:
    from xai.core import Explanation, XaiError
    from xai.core.csv_table import CsvTable
    from xai.explanation import Explained, ExplainedVideo, Failure, PageBuilder
    from xai.explanation.face_table import FaceTable
    from xai.report.image_payload import FaceEvidence

HELD = 1_000_000  # characters of records in memory; more are on disk until they are shown


def videos_among(sources: Sequence[Any]) -> list[Path]:
    """The videos among what `gather` found.

    Raises:
        UsageError: There are some, and the extra `video` is not installed.
    """
    from xai.data import is_video
    from xai.video import require_av

    videos = [source for source in sources if isinstance(source, Path) and is_video(source)]
    if videos:
        require_av()
    return videos


def what_is_explained(images: Sequence[Any], videos: Sequence[Path]) -> str:
    """The sentence that counts what was explained, not yet translated."""
    from xai.core.language import gettext_noop  # imports numpy, which help need not wait for

    if not videos:
        return gettext_noop("{n} of {total} images explained")
    if not images:
        return gettext_noop("{n} of {total} videos explained")
    return gettext_noop("{n} of {total} images and videos explained")


def _row(record: dict[str, Any]) -> list[str]:
    from xai.core.language import gettext

    predicted, image = record["predicted"], record["video" if "video" in record else "image"]
    chance = probability_text(record["probabilities"][predicted])
    name, origin = image["path"] or image["id"], image.get("origin") or {}
    if origin.get("face"):
        name = gettext("{name}, face {number}", name=name, number=origin["number"])
    return [name, predicted, chance, gettext("; ").join(record["warnings"])]


@dataclass
class ExplainRun:
    """What is shown of a run over many images, in order, and its exit code; of an image a line is kept.

    Args:
        total: Images asked for.
        out: Where the results are.
        builder: Makes the HTML page, if there is to be one; it keeps what the page holds of every image.
        as_json: Whether all records are to be shown; they wait in a temporary file.
        row: The line of a record in the table.
        what: Images, videos, or both, in the sentence that counts them.
        seed: Of the intervals of means.
        csv: File for a line of each image and class.
    """

    total: int
    out: Path
    builder: "PageBuilder | None" = None
    as_json: bool = False
    row: Callable[[dict[str, Any]], list[str]] = _row
    what: str = "{n} of {total} images explained"
    seed: int = 0
    csv: Path | None = None
    rows: list[list[str]] = field(default_factory=list)
    done: int = 0
    records: IO[str] | None = None
    failures: list["Failure"] = field(default_factory=list)
    faces: "FaceTable | None" = None
    table: "CsvTable | None" = None
    interrupted: bool = False
    stopped: "XaiError | None" = None

    def __post_init__(self) -> None:
        self._whole: object = None  # the photograph that the last face was cut from
        if self.as_json:
            self.records = SpooledTemporaryFile(HELD, "w+", encoding="utf-8")  # noqa: SIM115 - closed by show

    def add(self, result: "Explained | ExplainedVideo | Failure", step: Callable[[], object]) -> None:
        """Count one result; an image is put into the page, which goes on without one that it cannot take.

        Args:
            result: Of an image, of one of the faces in it, or of a video.
            step: Called after it, unless it is a further face of the photograph before.
        """
        reached = self.reached
        self._add(result)
        if self.reached > reached:
            step()

    @property
    def reached(self) -> int:
        """Images done and failed; a photograph of which one face failed alone is one."""
        return min(self.done + len(self.failures), self.total)

    def _add(self, result: "Explained | ExplainedVideo | Failure") -> None:
        from xai.core import DataError, ModelError
        from xai.core.files import json_text
        from xai.core.language import gettext
        from xai.explanation import Explained, Failure

        if isinstance(result, Failure):
            self.failures.append(result)
            return
        if self.records is not None:
            self.records.write(",\n" if self.rows else "")
            self.records.write(indent(json_text(result.record).rstrip(), "    "))
        self.rows.append(self.row(result.record))
        self._count(result)
        if not isinstance(result, Explained):
            return
        if self.csv is not None:
            self._add_lines(result)
        if result.evidence is not None:
            self._count_face(result.explanation, result.evidence)
        if self.builder is None:
            return
        try:
            self.builder.add(result.explanation, result.evidence)
        except (DataError, ModelError) as error:
            name = result.record["image"]["id"]
            say(gettext("{name} is left out of the page: {reason}", name=name, reason=error.message))

    def _count_face(self, explanation: "Explanation", evidence: "FaceEvidence") -> None:
        from xai.explanation.face_table import FaceTable

        self.faces = self.faces or FaceTable(self.seed)
        self.faces.add(explanation, evidence)

    def _add_lines(self, result: "Explained") -> None:
        from xai.core.csv_table import CsvTable
        from xai.explanation.table import COLUMNS, table_rows

        self.table = self.table or CsvTable(COLUMNS)
        one = result.explanation
        self.table.add(table_rows([(one.method, one, result.record.get("files", {}))]))

    def write_tables(self) -> None:
        """Write the tables of images and of parts of faces; of several images show the latter's means."""
        if self.table is not None and self.csv is not None:
            with self.collecting():
                self.table.write(self.csv)
        if self.faces is None:
            return
        with self.collecting():
            self.faces.write(self.out)
            if not self.as_json and self.faces.images > 1:
                show_table(*self.faces.shown())

    def _count(self, result: "Explained | ExplainedVideo") -> None:
        """An image or video that is done; the faces of one photograph come one after the other."""
        from xai.explanation import Explained

        origin = result.explanation.sample.origin if isinstance(result, Explained) else None
        self.done += origin is None or origin.image is not self._whole
        self._whole = origin and origin.image

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

    def show(self) -> None:
        """Print the results: a line per image, or everything as one JSON object."""
        from xai.core.language import gettext

        if self.records is not None:
            failures = [{"image": one.name, "error": str(one.error)} for one in self.failures]
            shown = {"out": str(self.out), "explanations": [], "failures": failures}
            with self.records as records:
                records.seek(0)
                show_json(shown, "explanations", iter(lambda: records.read(HELD), ""))
        elif self.rows:
            header = [gettext("image"), gettext("predicted"), gettext("probability"), ""]
            show_table(header, self.rows)

    def finish(self, advice: str) -> None:
        """Say how it went and what to do next; leave with the exit code that stands for it."""
        from xai.core.language import gettext

        done, failed = self.done, len(self.failures)
        say_failures(self.failures)
        if self.stopped is not None:
            say(f"Error: {self.stopped}")
        elif self.interrupted:
            say(gettext("Interrupted. What is listed as explained is complete on disk."))
        missing = self.total - self.reached
        counts = [gettext(self.what, n=done, total=self.total)]
        counts += [gettext("{n} failed", n=failed)] if failed else []
        counts += [gettext("{n} not reached", n=missing)] if missing else []
        line = gettext(", ").join(counts)
        say(
            gettext("{counts}. Results: {folder}/", counts=line, folder=self.out)
            if done
            else gettext("{counts}.", counts=line)
        )
        if self.stopped is not None:
            pass  # the error says what to do
        elif self.interrupted:
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
        if not self.rows:
            return MISSING
        return PARTLY if self.failures or self.stopped else 0
