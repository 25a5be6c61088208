"""Thumbnails of a survey's farthest images and the mean face, read from the data as they are now."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from PIL import Image

from xai.bench.config.schema import DataConfig
from xai.bench.data.sources import ImageSource, open_source
from xai.bench.run.description import RunDescription
from xai.bench.run.survey_schema import FACE_FRAME
from xai.core import Sample, XaiError
from xai.data.affine import read_through, similarity
from xai.faces import five_points, places
from xai.report.encode import encode_picture
from xai.stats.survey import FarImage, Survey, SurveySection

SIDE = 96  # pixels of a thumbnail
AVERAGED = 64  # faces in the mean picture
LOOKED_AT = 512  # images among which they are looked for


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
