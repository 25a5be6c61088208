"""What a run found: the one object that summaries, pages and pictures are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xai.core.language import DEFAULT, gettext, language
from xai.stats.curves import Band
from xai.stats.results import Agreement, Analysis, SplitHalf
from xai.stats.serial import from_json, to_json


@dataclass(frozen=True)
class MethodConfiguration:
    """A method with its options under a name of its own.

    Args:
        name: That tables and records use.
        method: Registry name.
        options: All of the method's options, defaults included, JSON-ready.
        control: Whether it is a control.
        hash: Digest of the method, its options and what it explains, and of the name of foreign code.
        code: `package.module:Class` where it is code that the configuration names.
    """

    name: str
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    control: bool = False
    hash: str = ""
    code: str | None = None


@dataclass(frozen=True)
class Exclusion:
    """What is not in the tables, and why.

    Args:
        image: Sample id.
        method: Row name, `*` for all.
        protocol: Name, `*` for all.
        reason: In words.
    """

    image: str
    method: str
    protocol: str
    reason: str


@dataclass(frozen=True)
class Greedy:
    """The greedy order beside the methods, on its own images only.

    Args:
        images: How many.
        mean: Of the greedy order.
        methods: Mean of every row on the same images.
    """

    images: int
    mean: float
    methods: Mapping[str, float]


@dataclass(frozen=True)
class MetricResult:
    """One metric under one protocol.

    Args:
        metric: Registry name.
        protocol: Name.
        protocol_hash: Digest.
        higher_is_better: Direction.
        analysis: Of all images.
        strata: The same per true class, if there are several.
        kinds: The same per kind of manipulation, if there are several, without pairs; of SRG and of metrics
            that read masks.
        split_half: Whether half of the images rank the methods as the other half does.
        saturated: By row: images whose curve moves too little to rank anything.
        saturated_images: Images on which that is so for every row.
        ties: By row: mean share of units whose relevance is not unique.
        greedy: The strong reference; None if it was not asked for.
        curves: Mean curve by row, for metrics that have one.
    """

    metric: str
    protocol: str
    protocol_hash: str
    higher_is_better: bool
    analysis: Analysis
    strata: Mapping[str, Analysis]
    kinds: Mapping[str, Analysis]
    split_half: SplitHalf
    saturated: Mapping[str, int]
    saturated_images: int
    ties: Mapping[str, float]
    greedy: Greedy | None
    curves: Mapping[str, Band]


@dataclass(frozen=True)
class ModelOutputs:
    """How the model answers under one protocol, before and after all evidence is removed.

    Args:
        images: How many.
        clean: Mean value of the images as they are.
        baseline: Mean value with everything removed.
        kept: Images whose followed class still has a probability above one half with everything removed:
            deleting evidence cannot take it from them. None where the value does not say it.
    """

    images: int
    clean: float
    baseline: float
    kept: int | None


@dataclass(frozen=True)
class MethodCost:
    """What a row's map costs per image.

    Args:
        seconds: Median over images.
        forwards: As the method declares.
        backwards: Likewise.
        peak_bytes: Largest; 0 where it cannot be measured.
    """

    seconds: float
    forwards: int
    backwards: int
    peak_bytes: int


@dataclass(frozen=True)
class MaskWarning:
    """Masks that say nothing, so that metrics that read masks do not either.

    Args:
        label: Label or kind of all the images concerned; empty: these are all images with a mask.
        images: How many.
        empty: Whether the masks are empty where the model looks; otherwise they are full.
    """

    label: str
    images: int
    empty: bool


def mask_warning(warning: MaskWarning) -> str:
    """The warning as a sentence."""
    if warning.label:
        which = gettext("All masks of images labelled {label!r}", label=warning.label)
    else:
        which = gettext("All masks")
    state = gettext("empty where the model looks") if warning.empty else gettext("full")
    return gettext(
        "{which} are {state} ({n} of {n}): metrics that read masks say nothing there. "
        "Check how the masks were saved: black is outside.",
        which=which,
        state=state,
        n=warning.images,
    )


@dataclass(frozen=True, eq=False)
class Summary:
    """All that a run allows one to say.

    Args:
        name: Of the run.
        images: Of the data.
        units: Units that are done, and of the plan.
        parts: One per metric and protocol.
        stability: By metric: whether its rankings agree between the protocols.
        agreement: By protocol: whether the metrics' rankings agree.
        answers: By protocol.
        cost: By row.
        protocols: Their definitions.
        methods: Rows with their options.
        exclusions: What is missing, and why.
        provenance: Of the last session.
        mask_warnings: Masks of the data that say nothing.
    """

    name: str
    images: int
    units: tuple[int, int]
    parts: tuple[MetricResult, ...]
    stability: Mapping[str, Agreement]
    agreement: Mapping[str, Agreement]
    answers: Mapping[str, ModelOutputs]
    cost: Mapping[str, MethodCost]
    protocols: Sequence[Mapping[str, Any]]
    methods: tuple[MethodConfiguration, ...]
    exclusions: tuple[Exclusion, ...]
    provenance: Mapping[str, Any]
    mask_warnings: tuple[MaskWarning, ...] = ()

    def as_dict(self, lang: str = DEFAULT) -> dict[str, Any]:
        """JSON-ready, with sentences in English if no other language is asked for; undefined is None."""
        with language(lang):
            return to_json(self, lang) | {"warnings": [mask_warning(one) for one in self.mask_warnings]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Summary":
        """The summary that `as_dict` wrote."""
        return from_json(cls, content)

    def __eq__(self, other: object) -> bool:
        """Whether both say the same; what is undefined in both is the same."""
        return isinstance(other, Summary) and self.as_dict() == other.as_dict()

    __hash__ = None  # type: ignore[assignment]
