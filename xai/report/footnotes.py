"""Caveats of a page: each kind said once, as a footnote, and marked at the images that have it."""

from collections.abc import Sequence
from dataclasses import dataclass

from xai.core.language import gettext
from xai.report.caveats import OF_ALL
from xai.report.image_payload import Caveat, Image


@dataclass(frozen=True)
class Footnote:
    """A caveat as the page says it.

    Args:
        mark: Its number.
        text: A sentence.
        images: How many images have it.
    """

    mark: int
    text: str
    images: int


@dataclass(frozen=True)
class Mark:
    """A caveat at an image.

    Args:
        mark: Of its footnote.
        words: A few, of this image.
        text: The whole sentence, of this image.
    """

    mark: int
    words: str
    text: str


def footnotes_of(images: Sequence[Image]) -> tuple[list[Footnote], list[list[Mark]]]:
    """The page's footnotes, in the order in which images need them, and the marks of each image.

    Caveats of one kind have one footnote: their own sentence where all images have the same one, else what
    `OF_ALL` says of the kind. A sentence without a kind has its own. What the page says of every map, and an
    image therefore in no words, has none.
    """
    caveats = [_caveats(image) for image in images]
    keyed = [[(_key(one), one) for one in of_image] for of_image in caveats]
    sentences: dict[str, list[str]] = {}
    for of_image in keyed:
        for key in dict.fromkeys(key for key, _ in of_image):
            sentences.setdefault(key, [])
        for key, one in of_image:
            if one.text not in sentences[key]:
                sentences[key].append(one.text)
    marks = {key: place for place, key in enumerate(sentences, 1)}
    notes = [
        Footnote(
            mark=marks[key],
            text=found[0] if len(found) == 1 else gettext(OF_ALL[key]),
            images=sum(any(key == one for one, _ in of_image) for of_image in keyed),
        )
        for key, found in sentences.items()
    ]
    return notes, [[Mark(marks[key], one.short, one.text) for key, one in of_image] for of_image in keyed]


def _key(one: Caveat) -> str:
    return one.kind if one.kind in OF_ALL else one.text


def _caveats(image: Image) -> list[Caveat]:
    """Those with a kind, and sentences that have none."""
    known = {one.text for one in image.notes}
    others = [text for text in image.caveats if text not in known]
    return [
        *(one for one in image.notes if one.short),
        *(Caveat(kind="", text=text, short=gettext("note")) for text in others),
    ]
