"""What a page says of its methods and its model: saliency cards, provenance, no folders of this machine."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Protocol

from xai.core.language import gettext, gettext_noop, listed, ngettext, pgettext
from xai.core.names import method_in_words, metric_in_words, row_in_words
from xai.report import words
from xai.report.payload import Card, Measurement, Page
from xai.report.tables import Table, decimals, line, table
from xai.report.text import number
from xai.stats import MethodCost

ARXIV = re.compile(r"(?<![\w.])(?:arXiv[ :]?\s*)?(\d{4}\.\d{4,5})(?![\w.])", re.IGNORECASE)
EXPECTED = {
    "class_sensitivity": gettext_noop("whether it follows the class"),
    "randomization": gettext_noop("whether it needs what the model has learnt"),
}


@dataclass(frozen=True)
class CardView:
    """A saliency card as the page tells it.

    Args:
        card: The payload's.
        title: The method's name in words.
        names: Under which the page shows the method, in words.
        properties: (question, answer) pairs.
        measured: Sentences on what was measured.
        missing: Sentences on what was not.
        reference: Pieces of text, each with the address it links to or None.
    """

    card: Card
    title: str
    names: list[str]
    properties: list[tuple[str, str]]
    measured: list[str]
    missing: list[str]
    reference: list[tuple[str, str | None]]


def cards_of(page: Page) -> list[CardView]:
    """One for each method of the page."""
    return [_card(one, page) for one in page.cards]


def provenance_of(page: Page) -> list[Table]:
    """Everything that was written down of how the numbers came about; each table stands for itself."""
    about = {key: value for key, value in page.provenance.items() if key != "model" or value != page.model}
    versions = about.pop("versions", {})
    versions = versions if isinstance(versions, Mapping) else {"": versions}
    page_of = {
        gettext("title"): page.title,
        gettext("kind"): page.kind,
        gettext("made"): page.created,
        gettext("images shown"): page.shown[0],
        gettext("images in all"): page.shown[1],
        gettext("classes of the model"): page.labels,
    }
    found = [
        _settings(gettext("The model"), {key: value for key, value in page.model.items() if key != "labels"}),
        _settings(gettext("This page"), page_of),
        _settings(gettext("The run"), about),
        _settings(gettext("Versions"), {"xai": page.version, **versions}),
        _methods(page),
    ]
    if page.summary is not None:
        found.append(_protocols(page.summary.protocols))
    return [one for one in found if one.lines]


def linked(reference: str) -> list[tuple[str, str | None]]:
    """A reference in pieces; only numbers of arXiv become links, and nothing else of the text does."""
    pieces: list[tuple[str, str | None]] = []
    end = 0
    for match in ARXIV.finditer(reference):
        pieces.append((reference[end : match.start()], None))
        pieces.append((match[0], f"https://arxiv.org/abs/{match[1]}"))
        end = match.end()
    return [piece for piece in [*pieces, (reference[end:], None)] if piece[0]]


def _card(card: Card, page: Page) -> CardView:
    rows = [one for one in page.rows if one.method == card.method]
    names = [one.name for one in rows]
    measured = {one.metric for one in card.measured}
    cost = page.summary.cost if page.summary is not None else {}
    properties = [
        (
            gettext("Needs"),
            listed(card.needs) if card.needs else gettext("nothing but the model's outputs"),
        ),
        (
            gettext("Follows the class"),
            gettext("yes, a map for each class") if card.class_sensitive else gettext("no, one map for all"),
        ),
        (
            gettext("Sign"),
            gettext("evidence for and against, at its defaults")
            if card.signed
            else gettext("evidence for the class only, at its defaults"),
        ),
        (
            gettext("Deterministic"),
            gettext("yes") if card.deterministic else gettext("no, it draws random numbers (seeded)"),
        ),
        (
            gettext("Cost"),
            _cost(card, [cost[name] for name in dict.fromkeys([*names, card.method]) if name in cost]),
        ),
    ]
    return CardView(
        card=card,
        title=method_in_words(card.method),
        names=[row_in_words(one.name, one.method) for one in rows] if names != [card.method] else [],
        properties=properties,
        measured=[_measured(one) for one in card.measured],  # a method may run with several options
        missing=[
            gettext(
                "{metric} ({what}): not measured in this run.",
                metric=metric_in_words(metric),
                what=gettext(what),
            )
            for metric, what in EXPECTED.items()
            if metric not in measured
        ],
        reference=linked(card.reference),
    )


def _cost(card: Card, measured: Sequence[MethodCost]) -> str:
    passes = gettext(
        "{forwards} and {backwards} at its defaults",
        forwards=ngettext("{n} forward pass", "{n} forward passes", card.forwards),
        backwards=ngettext("{n} backward pass", "{n} backward passes", card.backwards),
    )
    seconds = [one.seconds for one in measured if isfinite(one.seconds)]
    if not seconds:
        return gettext("{passes}; time not measured in this run", passes=passes)
    low, high = (number(1000 * one) for one in (min(seconds), max(seconds)))
    span = low if low == high else gettext("{least} to {most}", least=low, most=high)
    return gettext("{passes}; {time} ms per image, measured", passes=passes, time=span)


def _measured(one: Measurement) -> str:
    write = decimals(2)
    interval = "" if one.low is None or one.high is None else f" ({write(one.low)} … {write(one.high)})"
    return gettext(
        "{metric}: {value} on {images}; {meaning}.",
        metric=metric_in_words(one.metric),
        value=f"{write(one.value)}{interval}",
        images=ngettext("{n} image", "{n} images", one.images),
        meaning=one.meaning,
    )


def _settings(caption: str, values: Mapping[str, Any]) -> Table:
    return table(caption, [gettext("what"), gettext("value")], [line(pair) for pair in _flat(values)])


def _flat(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (key, pgettext("value", "none") if value == "None" else value) for key, value in words.flatten(values)
    ]


def _methods(page: Page) -> Table:
    lines = [
        line(
            [
                one.name,
                gettext("preset {preset}: {method}", preset=one.preset, method=one.method)
                if one.preset
                else one.method,
                ", ".join(f"{key} {value}" for key, value in _flat(words.seen_options(one.options)))
                or gettext("defaults"),
            ],
            one.control,
        )
        for one in page.rows
    ]
    columns = [gettext("name"), gettext("method"), gettext("options")]
    return table(gettext("Methods and their options"), columns, lines)


def _protocols(protocols: Sequence[Mapping[str, Any]]) -> Table:
    lines = []
    for one in protocols:
        rest = {key: value for key, value in one.items() if key not in ("name", "hash", "reference")}
        settings = ", ".join(
            f"{key} {value}" for key, value in _flat(rest) if value != pgettext("value", "none")
        )
        lines.append(line([str(one["name"]), str(one["hash"]), str(one["reference"]), settings]))
    columns = [gettext("protocol"), gettext("hash"), gettext("source"), gettext("settings")]
    return table(gettext("Protocols"), columns, lines)


_FOLDERS = re.compile(r"^(\w+:)?(?!//)(?:/|[A-Za-z]:[\\/]).*[\\/](?=.)")


def model_description(described: Mapping[str, Any]) -> dict[str, Any]:
    """What a classifier says of itself, without its labels (a page has them) and without folders."""
    return without_folders({key: value for key, value in described.items() if key != "labels"})


def without_folders(value: Any) -> Any:
    """JSON-ready content with absolute paths reduced to their last part: `local:/a/b` becomes `local:b`."""
    if isinstance(value, Mapping):
        return {key: without_folders(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(inner) for inner in value]
    return _FOLDERS.sub(lambda found: found[1] or "", value) if isinstance(value, str) else value


_IN_PROSE = re.compile(r"(?<![\w.~/\\:])(?:[A-Za-z]:)?[\\/](?=[^\s\\/])(?:[^\\/:\n]*[^\\/:\s][\\/])+")


def prose_without_folders(text: str) -> str:
    """A sentence in which absolute paths are reduced to their last part, wherever they stand.

    A folder's name holds no colon and does not end in a space, so that the words between two paths stay.
    """
    return _IN_PROSE.sub("", text)


MANY = 10  # passes from which on a method is one that asks again and again


class About(Protocol):
    """What `xai.attr.MethodInfo` says of a method."""

    @property
    def name(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def class_sensitive(self) -> bool: ...
    @property
    def signed(self) -> bool: ...
    @property
    def deterministic(self) -> bool: ...
    @property
    def forwards(self) -> int: ...
    @property
    def backwards(self) -> int: ...
    @property
    def reference(self) -> str: ...
    @property
    def summary(self) -> str: ...


def card_of(about: About, measured: Iterable[Measurement] = ()) -> Card:
    """The card of a method.

    Args:
        about: What it says of itself.
        measured: What was measured about it.
    """
    return Card(
        method=about.name,
        summary=gettext(about.summary),
        reference=about.reference,
        class_sensitive=about.class_sensitive,
        signed=about.signed,
        deterministic=about.deterministic,
        needs=_needs(about),
        forwards=about.forwards,
        backwards=about.backwards,
        measured=list(measured),
    )


def _needs(about: About) -> list[str]:
    """What it takes of the model, in words."""
    if about.family == "control":
        return [gettext("nothing of the model")]
    needs = [gettext("attention")] if about.family == "attention" else []
    if about.backwards:
        needs.append(gettext("gradients"))
    if not needs:
        needs.append(gettext("outputs of the model alone"))
    if about.forwards >= MANY:
        needs.append(gettext("many passes per image"))
    return needs
