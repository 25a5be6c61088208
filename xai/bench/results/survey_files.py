"""What a survey found, as files in its folder: summary, a table of all images, a picture, a page."""

import csv
import json
from collections.abc import Sequence
from io import TextIOWrapper
from typing import IO, Any

from xai.bench.data.files import Folder, folder_of, written_through
from xai.bench.results.survey import survey_results
from xai.bench.results.survey_pictures import with_pictures
from xai.bench.results.survey_rows import SurveyRow, survey_of
from xai.core import valid_text
from xai.core.files import replacing, write_bytes
from xai.data.face_parts import PARTS
from xai.stats.survey import Survey

IMAGES, PICTURE, PAGE = "images.csv", "maps.png", "report.html"


def write_survey(run: str | Folder) -> Survey:
    """Work out what a survey found, finished or not, and write it into its folder.

    Images are looked at again for thumbnails; where the data are not at hand, the page goes without.

    Raises:
        DataError: As `survey_results`.
        OutputError: The disk objects.
    """
    from xai.report import save
    from xai.report.survey import survey_markdown
    from xai.report.survey_figure import survey_figure
    from xai.report.survey_page import survey_page  # a run need not wait for what draws

    description = survey_of(run)
    with written_through(folder_of(run)) as folder:
        with replacing(folder / IMAGES) as file:
            table = _ImageTable(file, description.model.labels)
            survey = survey_results(run, table.add)
            table.end()
        survey = with_pictures(survey, description)
        write_bytes(
            folder / "summary.json", valid_text(json.dumps(survey.as_dict(), ensure_ascii=False)).encode()
        )
        write_bytes(folder / "summary.md", survey_markdown(survey).encode())
        if any(one.maps for one in survey.sections):
            save(survey_figure(survey), folder / PICTURE)
        write_bytes(folder / PAGE, survey_page(survey).encode())
    return survey


class _ImageTable:
    """One line an image and method, written as it comes."""

    def __init__(self, file: IO[bytes], labels: Sequence[str]):
        self._text = TextIOWrapper(file, "utf-8", newline="")
        self._lines = csv.writer(self._text, lineterminator="\n")
        names = ["image", "group", "label", "kind", "predicted", "target", "method", "frame", "place"]
        names += [*(f"logit_{label}" for label in labels), "mean_absolute_relevance", "outside", "distance"]
        names += [f"{share}_{part}" for share in ("for", "against", "area") for part in PARTS]
        self._write(names)

    def add(self, row: SurveyRow, distance: float | None) -> None:
        """Write a line; empty cells for what is not known."""
        texts = (row.image, row.group, row.label, row.kind, row.predicted, row.target, row.method, row.frame)
        shares = [None] * (3 * len(PARTS)) if row.shares is None else row.shares.ravel().tolist()
        numbers = [*row.logits.tolist(), row.level, row.outside, distance, *shares]
        self._write([*texts, row.place, *("" if one is None else f"{one:.6g}" for one in numbers)])

    def end(self) -> None:
        """Hand all lines on; the file is its owner's to close."""
        self._text.flush()
        self._text.detach()

    def _write(self, cells: Sequence[Any]) -> None:
        self._lines.writerow([valid_text(one) if isinstance(one, str) else one for one in cells])
