"""A protocol: everything that decides what number a perturbation metric gives, frozen and hashed."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from itertools import pairwise
from math import floor as round_down
from typing import Any, Literal

from xai.core import ProblemType, Registry, UsageError, nearest
from xai.core.catalogue import CHOICES
from xai.perturb import Operator, Segmentation, operator_of, segmentation_of

FLOORS = {"margin": 0.1, "logit": 0.1, "probability": 0.01, "accuracy": 0.5}
_RULES = ("steps", "step_units", "fractions")
_WIDTHS = re.compile(r"([1-9]\d*)?W")
_LATER = {
    "segments": None,
    "images": "all",
}  # of protocols that are older than these fields, not in their hashes
_PATCH_SIDE = 16  # of the pixel protocols' cost where only the number of patches is known


@dataclass(frozen=True)
class Protocol:
    """How perturbation metrics are computed. Numbers of different hashes never share a table.

    Args:
        name: What tables call it; no part of the hash.
        unit: What is removed at once: a patch of the model's grid, a pixel with all its channels, or a
            segment of the image; segments are ordered by the mean relevance of their pixels.
        operator: What removing means.
        insertion_operator: What insertion starts from, where that differs (RISE); None: `operator`.
        steps: Number of equal steps; after step i the integer nearest to i/steps of the units is removed.
        step_units: Units a step instead (the last may be smaller); "W" and "8W" are widths of the unit grid.
        fractions: Removed shares instead, increasing in [0, 1]; of n units ⌊share·n⌋ are removed.
            Exactly one of steps, step_units and fractions is given.
        ends: True: the image as it is and the image with everything removed are both points of the curve.
            False: steps lack the image as it is (TIS, Quantus), and fractions are taken as listed.
        ties: Order of units of equal relevance: "random" (seeded per image, the same for all methods, and
            averaged over `tie_draws` orders) or "stable" (by position: top left first).
        tie_draws: Number of random orders.
        sign: What of the relevance orders the units: all of it, its absolute value, or its positive part.
        upsampling: How a patch map becomes a pixel map, for pixels and segments. A pixel map becomes a patch
            map by the mean of each patch.
        value: "margin": the target's log-odds, its logit minus the log-sum-exp of all others, which with two
            classes is the logit margin, and where labels are independent (multi-label heads) its logit alone;
            "probability": the sigmoid of that, which is the softmax probability, or the independent label's
            own; "logit"; "accuracy": 1 where the target is the model's first choice, which independent
            labels do not have.
        target: The class to follow when none is given: the model's first choice on the image as it is, or
            "label": one must be given.
        auc: "trapezoid" over true shares; "uniform": trapezoid as if all steps were equal (RISE); "mean" of
            the points (M4); "unnormalised": trapezoid of unit steps (Quantus).
        floor: A curve that moves less is flagged as saturated: it ranks nothing. Default by value:
            0.1 for margin and logit (odds change by a tenth; bfloat16 logits near 10 lie 0.06 apart),
            0.01 for probability (a hundredth of the scale; a saturated softmax moves far less),
            0.5 for accuracy (the answer never changes).
        reference: Source and known deviations; no part of the hash.
        segments: How images are divided where segments are removed; shares are of the number it means, and an
            image that has a few more or less has them in the middle of the order.
        images: "all", or "correct": where the model's first choice is not the class followed, nothing is
            scored.
    """

    name: str
    unit: str
    operator: Operator
    insertion_operator: Operator | None = None
    steps: int | None = None
    step_units: int | str | None = None
    fractions: tuple[float, ...] | None = None
    ends: bool = True
    ties: str = "random"
    tie_draws: int = 1
    sign: str = "signed"
    upsampling: str = "nearest"
    value: str = "margin"
    target: str = "predicted"
    auc: str = "trapezoid"
    floor: float | None = None
    reference: str = ""
    segments: Segmentation | None = None
    images: str = "all"

    def __post_init__(self) -> None:
        for name, valid in CHOICES.items():
            if getattr(self, name) not in valid:
                raise self._refusal(
                    f"has {name}={getattr(self, name)!r}", nearest(str(getattr(self, name)), valid)
                )
        self._check_operators()
        given = [rule for rule in _RULES if getattr(self, rule) is not None]
        if len(given) != 1:
            rules = " and ".join(given) or "none"
            raise self._refusal(f"says {rules} of {', '.join(_RULES)}", "Give exactly one of them.")
        if self.fractions is not None:
            object.__setattr__(self, "fractions", self._checked_fractions(self.fractions))
        if self.steps is not None and not _positive(self.steps):
            raise self._refusal(f"has steps={self.steps!r}", "A whole number of at least 1 is meant.")
        if self.step_units is not None and not (
            _positive(self.step_units)
            or (isinstance(self.step_units, str) and _WIDTHS.fullmatch(self.step_units))
        ):
            raise self._refusal(
                f"has step_units={self.step_units!r}", 'A number of units, or widths: "W", "8W".'
            )
        if not _positive(self.tie_draws) or (self.ties == "stable" and self.tie_draws != 1):
            raise self._refusal(
                f"has tie_draws={self.tie_draws!r} with ties={self.ties!r}",
                "At least one draw; a stable order has exactly one.",
            )
        if self.floor is None:
            object.__setattr__(self, "floor", FLOORS[self.value])
        if not isinstance(self.floor, int | float) or isinstance(self.floor, bool) or not self.floor >= 0:
            raise self._refusal(f"has floor={self.floor!r}", "A number of at least 0 is meant.")

    def _refusal(self, what: str, hint: str) -> UsageError:
        return UsageError(f"Protocol {self.name!r} {what}.", hint)

    def _check_operators(self) -> None:
        for field in ("operator", "insertion_operator"):
            operator = getattr(self, field)
            if operator is None and field == "insertion_operator":
                continue
            if not isinstance(operator, Operator):
                raise self._refusal(
                    f"has {field}={operator!r}", "Make one with xai.perturb.make_operator(...)."
                )
            if operator.name == "token" and self.unit != "patch":
                raise self._refusal(
                    f"masks tokens and counts {self.unit}s", 'Tokens are patches: use unit="patch".'
                )
        if (self.unit == "segment") != isinstance(self.segments, Segmentation):
            raise self._refusal(
                f"has unit={self.unit!r} with segments={self.segments!r}",
                'unit="segment" goes with segments, such as xai.perturb.Slic().',
            )

    def _checked_fractions(self, fractions: Any) -> tuple[float, ...]:
        if not isinstance(fractions, tuple | list) or not all(
            isinstance(f, int | float) and not isinstance(f, bool) for f in fractions
        ):
            raise self._refusal(f"has fractions={fractions!r}", "A list of numbers is meant.")
        shares = [float(f) for f in fractions]
        if self.ends:
            shares = [*([] if 0.0 in shares else [0.0]), *shares, *([] if 1.0 in shares else [1.0])]
        if len(shares) < 2 or not (_increasing(shares) and shares[0] >= 0 and shares[-1] <= 1):
            raise self._refusal(f"has fractions={fractions!r}", "At least two, increasing, from 0 to 1.")
        return tuple(shares)

    def check_head(self, problem_type: ProblemType) -> None:
        """Refuse a value that such a head does not have.

        Raises:
            UsageError: Accuracy, or right answers only, where labels are independent.
        """
        if self.value == "accuracy" and problem_type.independent:
            raise self._refusal(
                f"follows accuracy, the first choice among exclusive classes, but the labels of a "
                f"{problem_type} model are independent",
                f'Use {{"base": "{self.name}", "value": "probability"}}, or value margin.',
            )
        if self.images == "correct" and problem_type.independent:
            raise self._refusal(
                f"scores images whose class is the model's first choice, but the labels of a {problem_type} "
                "model are independent",
                f'Use {{"base": "{self.name}", "images": "all"}}.',
            )

    @property
    def hash(self) -> str:
        """12 hex digits: the digest of all fields but name and reference."""
        content = {k: _canonical(v) for k, v in self.describe().items() if k not in ("name", "reference")}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return sha256(text.encode()).hexdigest()[:12]

    def describe(self) -> dict[str, Any]:
        """All fields, JSON-ready."""
        described: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _LATER and value == _LATER[field.name]:
                continue
            if isinstance(value, Operator | Segmentation):
                value = value.describe()
            described[field.name] = list(value) if isinstance(value, tuple) else value
        return described

    def replace(self, **changes: Any) -> "Protocol":
        """A protocol with other fields; a new step rule replaces the old one, a new value its floor."""
        for key in changes:
            if key not in _FIELDS:
                raise UsageError(f"A protocol has no field {key!r}.", nearest(key, _FIELDS))
        if any(changes.get(rule) is not None for rule in _RULES):
            changes = {**dict.fromkeys(_RULES), **changes}
        if "value" in changes and "floor" not in changes and self.floor == FLOORS[self.value]:
            changes["floor"] = None
        if changes.get("ties") == "stable":
            changes.setdefault("tie_draws", 1)
        return replace(self, **changes)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> "Protocol":
        """A protocol as a configuration writes it.

        Args:
            mapping: `base`, the name of a preset, and fields that differ from it; or all fields. Operators
                are names or mappings of name and parameters. Without a `name` one is made of the changes.

        Raises:
            UsageError: For unknown keys, names and values; the nearest valid one is named.
        """
        changes = dict(mapping)
        for key in changes:
            if key not in _FIELDS and key != "base":
                raise UsageError(f"A protocol has no field {key!r}.", nearest(str(key), [*_FIELDS, "base"]))
        for key in ("operator", "insertion_operator"):
            if changes.get(key) is not None:
                changes[key] = operator_of(changes[key])
        if changes.get("segments") is not None:
            changes["segments"] = segmentation_of(changes["segments"])
        if isinstance(changes.get("fractions"), list):
            changes["fractions"] = tuple(changes["fractions"])
        if "base" not in changes:
            missing = [key for key in ("unit", "operator") if key not in changes]
            if missing:
                raise UsageError(f"A protocol without a base needs {' and '.join(missing)}.", "Or give base.")
            fields: dict[str, Any] = {"name": "custom", **changes}
            made = cls(**fields)
            return made if "name" in changes else replace(made, name=f"custom-{made.hash}")
        base = protocol(changes.pop("base"))
        if "name" not in changes and changes:
            changed = ",".join(f"{key}={_short(value)}" for key, value in sorted(changes.items()))
            changes["name"] = f"{base.name}:{changed}"
        return base.replace(**changes)

    def units(self, patches: tuple[int, int], pixels: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of what is removed, for a grid of patches and a size in pixels."""
        if self.segments is not None:
            return 1, self.segments.count
        return patches if self.unit == "patch" else pixels

    def counts(self, units: tuple[int, int]) -> tuple[int, ...]:
        """Units removed at each point of the curve, for a unit grid (rows, cols).

        Raises:
            UsageError: There are not enough units for so many points.
        """
        total = units[0] * units[1]
        if self.fractions is not None:
            points = [round_down(share * total + 1e-9) for share in self.fractions]
        elif self.steps is not None:
            points = [(2 * i * total + self.steps) // (2 * self.steps) for i in range(self.steps + 1)]
            half = range(self.steps // 2 + 1, self.steps + 1)  # mirrored, so that MoRF and LeRF share states
            points[half.start :] = [total - points[self.steps - i] for i in half]
        else:
            size = self._step_size(units[1])
            if size > total:
                raise self._refusal(
                    f"removes {size} units a step; there are {total}", "Give a smaller step_units."
                )
            points = [min(i * size, total) for i in range(-(-total // size) + 1)]
        if not _increasing(points):
            raise self._refusal(
                f"has {len(points) - 1} steps for {total} units ({units[0]}×{units[1]})",
                f"Give at most {total} steps, or fractions further apart.",
            )
        return tuple(points if self.fractions is not None or self.ends else points[1:])

    def points(self, n_patches: int) -> int:
        """Length of a curve for a model of n_patches; in pixel protocols, of a square of 16-pixel ones."""
        if self.fractions is not None:
            return len(self.fractions)
        lacking = 0 if self.ends else 1
        if self.steps is not None:
            return self.steps + 1 - lacking
        side = max(1, round(n_patches**0.5))
        width, total = side, n_patches
        if self.unit == "pixel":
            width, total = side * _PATCH_SIDE, n_patches * _PATCH_SIDE**2
        elif self.segments is not None:
            width = total = self.segments.count
        return -(-total // self._step_size(width)) + 1 - lacking

    def _step_size(self, width: int) -> int:
        if isinstance(self.step_units, str):
            return int(self.step_units[:-1] or 1) * width
        return self.step_units or 1


PROTOCOLS: Registry[Protocol] = Registry("protocol")
"""By name; entered by `presets`."""
_FIELDS = tuple(field.name for field in fields(Protocol))
Value = Literal["margin", "probability", "logit", "accuracy"]


def protocol(given: str | Protocol | Mapping[str, Any]) -> Protocol:
    """The protocol that a name, a protocol or a mapping means (see `Protocol.from_mapping`).

    Raises:
        UsageError: It is nothing of this, or the name is unknown.

    Examples:
        >>> from xai.metrics import protocol
        >>> coarse = protocol({"base": "vit-mean", "steps": 7})
        >>> coarse.name, coarse.hash
        ('vit-mean:steps=7', '60fee53c0a33')
        >>> coarse.counts((14, 14))  # patches removed at each point of a curve
        (0, 28, 56, 84, 112, 140, 168, 196)
    """
    if isinstance(given, Protocol):
        return given
    if isinstance(given, Mapping):
        return Protocol.from_mapping(given)
    if not isinstance(given, str):
        raise UsageError(f"{given!r} is no protocol.", "Give a name, a Protocol, or a mapping with base.")
    return PROTOCOLS[given]


def _increasing(numbers: Sequence[float]) -> bool:
    return all(a < b for a, b in pairwise(numbers))


def _canonical(value: Any) -> Any:
    """Numbers that are equal written alike: 5.0 as 5."""
    if isinstance(value, Mapping):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _positive(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 1


def _short(value: Any) -> str:
    if isinstance(value, Operator | Segmentation):
        params = [str(v) for k, v in value.describe().items() if k != "name"]
        return "-".join([value.name, *params])
    return "_".join(f"{v:g}" for v in value) if isinstance(value, tuple) else str(value)
