"""One self-contained HTML page: works offline, loads nothing, runs no script."""

import os
from base64 import b64encode
from collections.abc import Iterable, Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.colors import to_hex
from PIL import Image

from xai import __version__
from xai.core import Explanation
from xai.report import words
from xai.report.canvas import Canvas, close_view
from xai.report.files import replacing
from xai.report.pictures import compared, comparison_scales
from xai.report.scale import DIVERGING, SEQUENTIAL, Scale
from xai.report.text import number, percent, printable

LONGEST, QUALITY = 480, 62  # of the pictures in the page: five to an image, about 150 kB in all
MOST_CLASSES = 5  # listed with their probabilities

TEMPLATES = Environment(
    loader=PackageLoader("xai.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_page(explanations: Iterable[Explanation], path: str | os.PathLike[str], *, title: str) -> None:
    """Write one HTML page of explanations; an existing page is replaced at once or not at all.

    Args:
        explanations: Read one by one; their pictures go into the page as they are drawn.
        path: The file to write.
        title: Heading of the page.

    Raises:
        DataError: A map holds NaN or infinity.
    """
    style = TEMPLATES.get_template("page.css").render(
        sequential=_gradient(SEQUENTIAL), diverging=_gradient(DIVERGING)
    )
    page = TEMPLATES.get_template("page.html").generate(
        title=printable(title),
        style=style,
        style_hash=b64encode(sha256(style.encode()).digest()).decode(),
        version=__version__,
        limits=words.LIMITS,
        articles=map(_article, explanations),
    )
    with replacing(Path(path)) as file:
        for part in page:
            file.write(part.encode())


def _article(explanation: Explanation) -> dict[str, Any]:
    canvas = Canvas(explanation, close_view(explanation), LONGEST)
    ranked = sorted(explanation.probabilities.items(), key=lambda item: -item[1])[:MOST_CLASSES]
    return {
        "name": words.name(explanation),
        "verdict": words.verdict(explanation),
        "classes": [(words.short(name), percent(share), f"{100 * share:.1f}") for name, share in ranked],
        "figures": list(_figures(explanation, canvas)),
        "notes": list(
            filter(None, (" ".join(words.conditions(explanation, canvas)), words.made_by(explanation)))
        ),
        "facts": list(_facts(explanation)),
    }


def _figures(explanation: Explanation, canvas: Canvas) -> Iterator[dict[str, Any]]:
    scale, difference_scale, overlap_scale = comparison_scales(explanation)

    def overlay(
        title: str, note: str, alt: str, values: np.ndarray, scale: Scale, stamp: str
    ) -> dict[str, Any]:
        return _figure(title, canvas.overlay(values, scale), alt, note, scale, stamp)

    name = words.name(explanation)
    yield _figure("original", Canvas(explanation, longest=LONGEST).original, f"{name}, as it is")
    for label, values in explanation.maps.items():
        title, unit = words.titled(explanation, label), words.short(label)
        alt = f"Relevance for {unit} laid over {name}"
        yield overlay(title, words.peak(values, scale), alt, values, scale, words.stamp(values))
    if len(explanation.maps) > 1:
        first, second = compared(explanation)
        note = f"{words.short(first)} − {words.short(second)}; {words.sides(first, second)}"
        values = explanation.difference(first, second) * scale.limit
        stamp = words.stamp(values, "difference")
        yield overlay(
            "difference", note, f"Difference of the maps over {name}", values, difference_scale, stamp
        )
        values = explanation.overlap(first, second) * scale.limit
        stamp, note = words.stamp(values, "overlap"), "the smaller of the two"
        yield overlay("overlap", note, f"Overlap of the maps over {name}", values, overlap_scale, stamp)


def _figure(
    title: str, picture: np.ndarray, alt: str, note: str = "", scale: Scale | None = None, stamp: str = ""
) -> dict[str, Any]:
    """What the template needs to know about one picture."""
    ticks = []
    if scale is not None and scale.limit > 0:
        ticks = [number(value) for value in (scale.low, (scale.low + scale.limit) / 2, scale.limit)]
    return {
        "title": title,
        "note": note,
        "source": _data_uri(picture),
        "height": picture.shape[0],
        "width": picture.shape[1],
        "alt": alt,
        "stamp": stamp,
        "ticks": ticks,
        "colours": "diverging" if scale is not None and scale.signed else "sequential",
    }


def _facts(explanation: Explanation) -> Iterator[tuple[str, str]]:
    """Provenance: everything needed to make the maps again."""
    sample, geometry = explanation.sample, explanation.geometry
    yield "image", printable(str(sample.path or sample.id))
    yield "size", "{} × {} pixels".format(*sample.image.size)
    if sample.box is not None:
        yield "crop (x, y, width, height)", ", ".join(f"{value:g}" for value in sample.box)
    yield "seen by the model (left, top, right, bottom)", ", ".join(f"{value:g}" for value in geometry.box)
    yield "method", explanation.method
    for prefix, mapping in (("option", explanation.options), ("model", explanation.model)):
        for key, value in words.flatten(mapping):
            yield f"{prefix} {printable(key)}", printable(value)


def _gradient(colormap: Any) -> str:
    """The colours of a map as stops of a CSS gradient."""
    return ", ".join(to_hex(colour) for colour in colormap(np.linspace(0, 1, 17)))


def _data_uri(picture: np.ndarray) -> str:
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "webp", quality=QUALITY)
    return f"data:image/webp;base64,{b64encode(buffer.getvalue()).decode()}"
