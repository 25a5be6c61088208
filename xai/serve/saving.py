"""What a reader may keep: a picture, a page, or the configuration that makes the same maps again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import PurePath
from typing import NamedTuple

import yaml

import xai.report as report
from xai.core import Explanation, UsageError
from xai.core.language import current_language, gettext
from xai.core.runtime import __version__
from xai.explanation import MethodComparison, PageBuilder, page_of_comparison
from xai.report.picture import SOFTWARE, Picture, write_png
from xai.serve.model import LoadedModel

Rows = Sequence[Mapping[str, Explanation]]


class File(NamedTuple):
    """A file to be handed over, never written here."""

    name: str
    media_type: str
    content: bytes


def picture(model: LoadedModel, rows: Rows, target: str | None) -> File:
    """What `xai explain` draws of one image and method, `xai compare` of several."""
    explanations = [one for row in rows for one in row.values()]
    if len(explanations) > 1:
        label, chosen = _of_one_class(rows, target)
        return File("method_panel.png", "image/png", _png(report.draw_methods(chosen, label)))
    (found,) = explanations
    if len(found.maps) > 1:
        drawn = report.draw_comparison(found, *report.compared(found))
    else:
        drawn = report.draw_class(found, next(iter(found.maps)))
    return File(
        f"{report.file_slug(PurePath(found.sample.id).stem)}_comparison.png", "image/png", _png(drawn)
    )


def page_file(model: LoadedModel, rows: Rows, target: str | None) -> File:
    """The page that `xai explain --report` writes of one method, `xai compare --report` of several."""
    (key, *others) = dict.fromkeys(key for row in rows for key in row)
    if others:
        label, chosen = _of_one_class(rows, target)
        wanted = model.explainer(key).targets.target_of(label)
        seed, lang = model.settings.seed, current_language()
        comparison = MethodComparison(label, chosen, [], seed, wanted, model.classifier, lang)
        page = page_of_comparison(comparison, model.classifier)
    else:
        builder = PageBuilder(model.explainer(key), len(rows))
        for row in rows:
            builder.add(row[key])
        page = builder.page()
    return File("explanations.html", "text/html; charset=utf-8", report.to_html(page).encode())


def configuration(model: LoadedModel, rows: Rows, target: str | None) -> File:
    """The method with its options, as `xai explain --method-config` reads it."""
    found = next(iter(rows[0].values()))
    content = {"method": found.method, "options": dict(found.options)}
    lines = [
        f"# Written by xai serve {__version__}. Model: {_one_line(model.words)}",
        "# The same maps again, with the options that say which model:",
        "#   xai explain IMAGE --method-config method.yaml",
    ]
    text = "\n".join(lines) + "\n" + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return File("method.yaml", "application/yaml", text.encode())


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _of_one_class(rows: Rows, target: str | None) -> tuple[str, list[dict[str, Explanation]]]:
    """A class, and of each image the maps of it; images without all of them are left out.

    Raises:
        UsageError: None has them.
    """
    label = target or next(iter(rows[0].values())).followed
    methods = list(dict.fromkeys(key for row in rows for key in row))
    chosen = [
        {key: replace(row[key], maps={label: row[key].maps[label]}, layers={}) for key in methods}
        for row in rows
        if all(key in row and label in row[key].maps for key in methods)
    ]
    if not chosen:
        raise UsageError(
            gettext("No image has maps of {label} by all of these methods.", label=label),
            gettext("Choose another class, or fewer methods."),
        )
    return label, chosen


def _png(drawn: Picture) -> bytes:
    file = BytesIO()
    write_png(file, drawn.pixels(), drawn.dpi, SOFTWARE)
    return file.getvalue()
