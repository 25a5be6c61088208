"""What a survey found, as files in its folder: summary, a table of all images, pictures, a page."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import TextIOWrapper
from typing import IO, Any

import numpy as np
from PIL import Image

from xai.bench.config.schema import DataConfig
from xai.bench.data.files import Folder, folder_of, written_through
from xai.bench.data.sources import ImageSource, open_source
from xai.bench.results.survey import survey_results
from xai.bench.results.survey_rows import SurveyRow, survey_of
from xai.bench.run.description import RunDescription
from xai.bench.run.survey_schema import FACE_FRAME
from xai.core import Sample, XaiError, valid_text
from xai.core.csv_table import inert
from xai.core.files import replacing, write_bytes
from xai.data.affine import read_through, similarity
from xai.data.face_parts import PARTS
from xai.faces import five_points, places
from xai.report.encode import encode_picture
from xai.stats.survey import FarImage, Survey, SurveySection

IMAGES, PICTURE, PAGE = "images.csv", "maps.png", "report.html"

SIDE = 96  # pixels of a thumbnail
AVERAGED = 64  # faces in the mean picture
LOOKED_AT = 512  # images among which they are looked for


def write_survey(run: str | Folder) -> Survey:
    """Work out what a survey found, finished or not, and write it into its folder.

    Images are looked at again for thumbnails; where the data are not at hand, the page goes without.

    Raises:
        DataError: As `survey_results`.
        OutputError: The disk objects.
    """
    from xai.report import save
    from xai.report.survey import survey_markdown
    from xai.report.survey_maps import survey_figure
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
        self._lines.writerow(inert(valid_text(one) if isinstance(one, str) else one for one in cells))


def with_pictures(survey: Survey, description: RunDescription) -> Survey:
    """The survey with thumbnails and the mean face, if its images are at hand and still the same."""
    try:
        source = open_source(DataConfig.model_validate(description.config.content["data"]))
    except (XaiError, ValueError, OSError):
        return survey
    if source.digest() != (description.identity.get("data") or {}).get("digest"):
        return survey
    return replace(survey, sections=tuple(_with_pictures(one, source) for one in survey.sections))


def _with_pictures(section: SurveySection, source: ImageSource) -> SurveySection:
    farthest = tuple(replace(one, picture=_thumbnail(one, source, section.frame)) for one in section.farthest)
    backdrop = _mean_face(source) if section.frame == FACE_FRAME else None
    return replace(section, farthest=farthest, backdrop=backdrop)


def _thumbnail(far: FarImage, source: ImageSource, frame: str) -> str | None:
    try:
        return encode_picture(_in_frame(_sample(source, far.place), frame), SIDE)
    except XaiError:
        return None


def _mean_face(source: ImageSource) -> str | None:
    faces = [np.asarray(one, np.float64) for one in _faces(source)]
    if not faces:
        return None
    return encode_picture(Image.fromarray(np.mean(faces, 0).round().astype(np.uint8)), SIDE)


def _faces(source: ImageSource) -> Iterator[Image.Image]:
    found = 0
    for place in range(min(len(source), LOOKED_AT)):
        try:
            sample = _sample(source, place)
            face = None if sample.landmarks is None else _in_frame(sample, FACE_FRAME)
        except XaiError:
            continue
        if face is not None:
            yield face
            found += 1
        if found == AVERAGED:
            return


def _sample(source: ImageSource, place: int) -> Sample:
    (entry,) = source.entries(place, place + 1)
    return entry.make()


def _in_frame(sample: Sample, frame: str) -> Image.Image:
    """What maps of this frame lie over, as far as it is known without the model."""
    if frame == FACE_FRAME and sample.landmarks is not None:
        matrix = similarity(five_points(sample.landmarks), places(SIDE))
        return read_through(sample.image, matrix, (SIDE, SIDE))
    if sample.box is None:
        return sample.image
    x, y, width, height = (round(side) for side in sample.box)
    return sample.image.crop((x, y, x + width, y + height))
