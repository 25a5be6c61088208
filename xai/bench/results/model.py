"""What a summary holds: frozen, and ready for JSON, where what is undefined is None."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xai.bench.run.inputs import Exclusion
from xai.stats import Agreement, Analysis, Band, SplitHalf, to_json


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
class Part:
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
class Answers:
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
        warnings: Sentences a reader must know about the data.
    """

    name: str
    images: int
    units: tuple[int, int]
    parts: tuple[Part, ...]
    stability: Mapping[str, Agreement]
    agreement: Mapping[str, Agreement]
    answers: Mapping[str, Answers]
    cost: Mapping[str, MethodCost]
    protocols: Sequence[Mapping[str, Any]]
    methods: Sequence[Mapping[str, Any]]
    exclusions: tuple[Exclusion, ...]
    provenance: Mapping[str, Any]
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; what is undefined is None."""
        return to_json(self)
