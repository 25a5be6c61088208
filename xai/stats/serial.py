"""Results as plain JSON data, where what is undefined is None, and back.

The sentences that JSON has always held (`verdict`, `notes`) are written here beside the numbers and the
outcome that they are made from, and are not read again.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from xai.core.language import DEFAULT, language
from xai.stats.results import Analysis, Comparison, MethodSummary
from xai.stats.words import notes_of, phrase, phrase_comparison


def to_json(value: Any, lang: str = DEFAULT) -> Any:
    """Dataclasses, mappings and sequences as JSON holds them; what is not finite becomes None.

    Args:
        value: The result.
        lang: Of the sentences: English where programs read them, whatever language a person asked for.
    """
    with language(lang):
        return _plain(value)


def from_json(kind: Any, content: Any) -> Any:
    """A result from what `to_json` made of it; what is None is undefined, NaN where a number is expected.

    Args:
        kind: The type to build: a dataclass, or a type as its fields are annotated with.
        content: The plain data; keys that the dataclass lacks are passed over.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return None if content is None else from_json(inner[0], content)
    if origin is tuple:
        kinds = [inner[0]] * len(content) if inner[-1] is ... else inner
        return tuple(from_json(one, each) for one, each in zip(kinds, content, strict=True))
    if origin is Mapping:
        return {key: from_json(inner[1], each) for key, each in content.items()}
    if origin is Sequence:
        return [from_json(inner[0], each) for each in content]
    if kind is float:
        return math.nan if content is None else float(content)
    if not is_dataclass(kind):
        return content
    if kind is Analysis:
        content = content | {"methods": [_with_verdict(one, content) for one in content["methods"]]}
    hints = get_type_hints(kind)
    return kind(**{
        one.name: from_json(hints[one.name], content[one.name]) for one in fields(kind) if one.name in content
    })  # fmt: skip


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)} | _more(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.value if isinstance(value, Enum) else value


def _more(value: Any) -> dict[str, Any]:
    """What JSON says beside, or instead of, the fields of a result."""
    if isinstance(value, Analysis):
        return {"notes": notes_of(value)}
    if not isinstance(value, MethodSummary | Comparison):
        return {}
    verdict = value.verdict
    content = {
        "superiority": verdict.superiority,
        "median_difference": verdict.difference,
        "outcome": verdict.outcome.value,
        "side": verdict.side,
        "negligible": verdict.negligible,
        "imprecise": verdict.imprecise,
        "adjusted_over": verdict.adjusted_over,
        "smallest_p": verdict.smallest_p,
    }
    if isinstance(value, MethodSummary):
        saturation = {"saturated": verdict.saturated, "saturated_of": verdict.images}
        return content | saturation | {"p_reference": verdict.p, "verdict": phrase(verdict)}
    return content | {
        "p": verdict.p,
        "blocks": verdict.blocks,
        "unit": verdict.unit,
        "alpha": verdict.alpha,
        "identical": verdict.identical,
        "verdict": phrase_comparison(value),
    }


def _with_verdict(method: Mapping[str, Any], analysis: Mapping[str, Any]) -> dict[str, Any]:
    """A method of an analysis with its verdict as fields; the analysis holds what all verdicts share."""
    verdict = {name: analysis[name] for name in ("blocks", "unit", "alpha")} | {
        "other": analysis["reference"],
        "p": method["p_reference"],
        "difference": method["median_difference"],
        "images": method["saturated_of"],
    }
    return {**method, "verdict": {**method, **verdict}}
