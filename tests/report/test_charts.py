import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from report_pages import benchmark_page, demo_summary, explanation_page

from xai.report.figures import critical_difference_chart
from xai.report.payload import Page
from xai.report.render import charts_of
from xai.stats import (
    Analysis,
    Summary,
    analyse,
    from_json,
    mean_curve,
    metric_agreement,
    rank_stability,
    split_half,
    to_json,
)

vl_convert = pytest.importorskip("vl_convert")
HOSTILE = ["</script><script>alert(1)", "a.b[c]", "'; datum", 'x" + alert(1) + "', "${1}", "\u202egnp\n"]


def compiled(charts: dict[str, Any]) -> dict[str, str]:
    return {key: vl_convert.vegalite_to_svg(spec) for key, spec in charts.items()}


def values(spec: dict[str, Any], **where: Any) -> list[dict[str, Any]]:
    """Rows of all data of a chart."""
    sources = [spec, *spec["layer"]]
    rows = [row for one in sources for row in one.get("data", {}).get("values", [])]
    return [row for row in rows if all(row.get(key) == value for key, value in where.items())]


def a_summary(names: list[str], images: int, metrics: tuple[str, ...] = ("deletion", "insertion")) -> dict:
    """What a run with these rows says; the last row is random."""
    import numpy as np

    rng = np.random.default_rng(0)
    parts = []
    for metric in metrics:
        scores = rng.normal(size=(images, len(names))) + np.arange(len(names))
        found = analyse(
            scores,
            names,
            higher_is_better=metric == "insertion",
            reference=names[-1] if len(names) > 1 else None,
            resamples=99,
        )
        curves = {
            name: mean_curve(rng.normal(size=(images, 5)), [0, 0.25, 0.5, 0.75, 1], resamples=99)
            for name in names
            if images
        }
        parts.append(
            {
                "metric": metric,
                "protocol": f"p{HOSTILE[0]}",
                "protocol_hash": "0" * 12,
                "higher_is_better": metric == "insertion",
                "analysis": to_json(found),
                "strata": {},
                "kinds": {},
                "split_half": to_json(split_half(scores, splits=4)),
                "saturated": dict.fromkeys(names, 0),
                "saturated_images": 0,
                "ties": dict.fromkeys(names, 0.0),
                "greedy": None,
                "curves": to_json(curves),
            }
        )
    means = {
        part["metric"]: {one["name"]: one["mean"] for one in part["analysis"]["methods"]} for part in parts
    }
    return {
        "name": "run",
        "images": images,
        "units": [1, 2],
        "parts": parts,
        "stability": {"deletion": to_json(rank_stability(means))},
        "agreement": {"p": to_json(metric_agreement(means, {"deletion": False, "insertion": True}))},
        "answers": {},
        "cost": {},
        "protocols": [],
        "methods": [
            {"name": n, "method": n, "control": n == names[-1], "options": {}, "hash": ""} for n in names
        ],
        "exclusions": [],
        "provenance": {},
    }


def page_of(summary: dict) -> Page:
    return benchmark_page(0).model_copy(update={"summary": Summary.from_dict(summary), "parts": []})


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    return demo_summary()


@pytest.fixture(scope="module")
def charts() -> dict[str, Any]:
    return charts_of(benchmark_page(1))


def test_the_demo_run_compiles(charts):
    assert len(charts) == 42
    for svg in compiled(charts).values():
        assert svg.startswith("<svg")
    json.dumps(charts, allow_nan=False)


def test_pages_without_a_benchmark_have_no_charts():
    assert charts_of(explanation_page(1)) == {}


def test_intervals_show_the_means_of_the_summary_best_rank_first(charts, summary):
    for place, part in enumerate(summary["parts"]):
        rows = values(charts[f"intervals-{place}"])
        shown = [row for row in rows if "row" in row]
        methods = sorted(part["analysis"]["methods"], key=lambda one: one["mean_rank"])
        assert [row["row"].removesuffix(" (control)") for row in shown] == [one["name"] for one in methods]
        for row, one in zip(shown, methods, strict=True):
            assert (row["value"], row["low"], row["high"]) == (one["mean"], one["low"], one["high"])
            assert row["control"] == one["control"]


def test_random_maps_are_the_line_behind_the_intervals(charts, summary):
    random = next(m for m in summary["parts"][0]["analysis"]["methods"] if m["name"] == "random")
    behind = charts["intervals-0"]["layer"][0]["data"]["values"]
    assert behind == [{"low": random["low"], "high": random["high"], "value": random["mean"]}]
    assert len(charts["intervals-10"]["layer"]) == 2  # class sensitivity has no reference


def test_curves_are_those_of_the_summary(charts, summary):
    for place, part in enumerate(summary["parts"]):
        if not part["curves"]:
            assert f"curves-{place}" not in charts
            continue
        for row, curve in part["curves"].items():
            control = row in ("random", "center_prior", "sobel", "raw_last_layer")
            points = values(charts[f"curves-{place}"], row=f"{row} (control)" if control else row)
            assert [p["share"] for p in points] == curve["fractions"]
            assert [(p["value"], p["low"], p["high"]) for p in points] == [
                *zip(curve["mean"], curve["low"], curve["high"], strict=True)
            ]


def test_controls_are_grey_and_dashed(charts):
    entries = charts["curves-0"]["usermeta"]["legend"]["entries"]
    for entry in entries:
        control = entry["name"].endswith("(control)")
        assert ("control" in entry["colour"]) == control
        assert (tuple(entry["dash"]) != (1, 0)) == control
    assert sum(entry["name"].endswith("(control)") for entry in entries) == 4


def test_matrices_hold_the_taus(charts, summary):
    for place, one in enumerate(summary["agreement"].values()):
        shown = [row["value"] for row in values(charts[f"agreement-{place}"])]
        assert shown == [tau for line in one["tau"] for tau in line]


def test_places_are_ranks_of_mean_ranks(charts, summary):
    parts = [part for part in summary["parts"] if part["protocol"] == "token-6"]
    cells = {(row["row"], row["column"]): row["value"] for row in values(charts["places-0"])}
    for part in parts:
        methods = sorted(part["analysis"]["methods"], key=lambda one: one["mean_rank"])
        for place, one in enumerate(methods, 1):
            name = f"{one['name']} (control)" if one["control"] else one["name"]
            assert cells[name, part["metric"]] == place


def test_bars_join_what_nemenyi_does_not_tell_apart(summary):
    for part in summary["parts"]:
        analysis = part["analysis"]
        methods = sorted(analysis["methods"], key=lambda one: one["mean_rank"])
        chart = critical_difference_chart(from_json(Analysis, analysis), "ranks", test="nemenyi")
        runs = [(bar[0], bar[-1]) for bar in chart.bars]
        assert [list(bar) for bar in chart.bars] == [list(range(a, b + 1)) for a, b in runs]
        critical = analysis["critical_difference"]
        for first, last in runs:
            assert methods[last]["mean_rank"] - methods[first]["mean_rank"] < critical + 1e-6
            if last + 1 < len(methods):
                assert methods[last + 1]["mean_rank"] - methods[first]["mean_rank"] >= critical - 1e-6
        for (a, b), (c, d) in pairwise(runs):
            assert a < c and b < d


@pytest.mark.parametrize("images", [0, 1, 6])
@pytest.mark.parametrize("names", [["one"], HOSTILE, [f"{'x' * 60}{i}{'y' * 60}" for i in range(3)]])
def test_whatever_rows_are_called_and_however_few_images(names, images):
    charts = charts_of(page_of(a_summary(names, images)))
    compiled(charts)
    if images == 6:
        rows = values(charts["intervals-0"])
        assert len({row["row"] for row in rows if "row" in row}) == len(names)


def test_unknown_numbers_are_left_out(summary):
    blank = json.loads(json.dumps(summary))
    for part in blank["parts"]:
        part["analysis"]["critical_difference"] = part["analysis"]["friedman"] = None
        for i, one in enumerate(part["analysis"]["methods"]):
            one["low"] = one["high"] = None
            one["mean"] = None if i == 0 else one["mean"]
        for curve in part["curves"].values():
            curve["mean"][0] = curve["low"][1] = curve["high"][1] = None
    for one in [*blank["agreement"].values(), *blank["stability"].values()]:
        one["tau"] = [[None for _ in line] for line in one["tau"]]
    charts = charts_of(page_of(blank))
    compiled(charts)
    assert not any(key.startswith("ranks-") for key in charts)
    assert not values(charts["intervals-0"], row="gradient_weighted_attention")
    assert {row["tau"] for row in values(charts["agreement-0"])} == {"–"}


def strings(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for name, one in node.items():
            yield from strings(one, name)
    elif isinstance(node, list):
        for one in node:
            yield from strings(one, key)
    elif isinstance(node, str):
        yield key, node


def test_names_stand_in_data_alone():
    """Neither a field, nor an expression, nor a link is made of what a user typed."""
    charts = charts_of(page_of(a_summary(HOSTILE, 6)))
    for spec in charts.values():
        for key, text in strings(spec):
            assert key not in ("href", "url", "expr", "calculate", "filter")
            if key in ("test", "field", "param"):
                assert not any(name in text for name in ("alert", "a.b", "script", "; datum"))
