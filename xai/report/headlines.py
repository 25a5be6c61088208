"""The results that speak for each purpose, and which methods lead in them: typed verdicts, no words.

SRG is the headline of faithfulness and average precision that of localisation where they were measured, else
the first metric of the kind that the run has.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from xai.core.catalogue import catalogue
from xai.report.figures.description import scored
from xai.report.payload import PageMetric
from xai.report.sentences import ahead, apart
from xai.stats import MetricResult, Outcome

Purpose = Literal["faithfulness", "localisation"]

NEEDS: dict[Purpose, tuple[str, ...]] = {
    "faithfulness": ("perturbation",),
    "localisation": ("mask", "clicks"),
}
HEADLINE: dict[Purpose, str] = {"faithfulness": "srg", "localisation": "average_precision"}


@dataclass(frozen=True)
class Evidence:
    """What speaks for a purpose.

    Args:
        purpose: Which.
        results: The headline metric under each protocol, compared with random maps; may be empty.
    """

    purpose: Purpose
    results: tuple[MetricResult, ...]

    @property
    def leading(self) -> list[str]:
        """Rows that lead in every result, best mean rank in the first result first."""
        found = [leaders(result) for result in self.results]
        return [name for name in found[0] if all(name in one for one in found[1:])] if found else []

    @property
    def undecided(self) -> bool:
        """Whether all results have too few images for any verdict."""
        return all(
            one.verdict.outcome is Outcome.TOO_FEW
            for result in self.results
            for one in scored(result.analysis)
            if one.verdict.outcome is not Outcome.NOT_COMPARED
        )


def evidence_of(
    results: Sequence[MetricResult], metrics: Sequence[PageMetric], names: Sequence[str]
) -> list[Evidence]:
    """The headline results of each purpose, in the order of the run.

    Args:
        results: Of the run.
        metrics: What a page knows of its metrics, at the same places; may be empty.
        names: Registry names of the metrics, at the same places.
    """
    found = []
    for purpose, needs in NEEDS.items():
        by_protocol: dict[str, list[tuple[str, MetricResult]]] = {}
        for place, (result, name) in enumerate(zip(results, names, strict=True)):
            known = catalogue().metrics.get(name)
            need = (
                metrics[place].needs
                if place < len(metrics) and metrics[place].needs
                else known and known.needs
            )
            if need in needs and result.analysis.reference is not None and scored(result.analysis):
                by_protocol.setdefault(result.protocol, []).append((name, result))
        headlines = (
            next((result for name, result in some if name == HEADLINE[purpose]), some[0][1])
            for some in by_protocol.values()
        )
        found.append(Evidence(purpose, tuple(headlines)))
    return found


def leaders(result: MetricResult) -> list[str]:
    """Methods that beat random maps and that no other method is significantly better than; best first."""
    methods = [one for one in scored(result.analysis) if not one.control]
    better = [one for one in methods if one.verdict.outcome is Outcome.BETTER]
    return [
        one.name
        for one in better
        if not any(ahead(other, one) and apart(result, other, one) for other in methods)
    ]


def ahead_of_all(result: MetricResult, name: str) -> bool:
    """Whether a method that leads is told apart from every other method."""
    one = result.analysis.method(name)
    others = [other for other in scored(result.analysis) if not other.control and other.name != name]
    return all(apart(result, one, other) for other in others)


def rivals(result: MetricResult) -> list[str]:
    """Controls that beat random maps, and that the best method is not significantly better than."""
    methods = scored(result.analysis)
    best = next((one for one in methods if not one.control), None)
    return [
        one.name
        for one in methods
        if one.control
        and one.verdict.outcome is Outcome.BETTER
        and not (best and ahead(best, one) and apart(result, best, one))
    ]


def behind(one: Evidence) -> list[str]:
    """Methods that lead in no result, the worst first."""
    return [name for name in methods_of(one) if not any(name in leaders(r) for r in one.results)][::-1]


def methods_of(one: Evidence) -> list[str]:
    """All methods with a score in some result, without controls; best mean rank in the first result first."""
    return list(dict.fromkeys(m.name for r in one.results for m in scored(r.analysis) if not m.control))


def has(result: MetricResult, name: str) -> bool:
    """Whether a method has a score in a result."""
    return any(one.name == name for one in scored(result.analysis))
