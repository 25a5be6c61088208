"""What `clip_findings.py` reads out of a summary."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.clip_findings import between_protocols, precision
from benchmarks.clip_tables import Run, Table, by_kind, compare, line


def table(higher_is_better: bool) -> Table:
    """Three attributions and a control; only a and c, and the control and c, can be told apart."""
    means = {"a": 3.0, "b": 2.0, "c": 1.0, "random": 4.0}
    methods = [
        {"name": name, "mean": mean, "low": mean - 1, "high": mean + 1, "control": name == "random"}
        for name, mean in means.items()
    ]
    apart = [{"a", "c"}, {"random", "c"}]
    pairs = [
        {"first": a, "second": b, "distinguishable": {a, b} in apart}
        for i, a in enumerate(means)
        for b in list(means)[i + 1 :]
    ]
    return Table({"higher_is_better": higher_is_better, "analysis": {"methods": methods, "pairs": pairs}})


def test_better_is_what_the_tests_say_and_never_a_control():
    found = table(higher_is_better=True)
    assert found.order() == ["random", "a", "b", "c"]
    assert found.better("c") == ["a"] and not found.leads("c")
    assert found.better("b") == [] and found.leads("b") and found.leads("a")
    assert not found.leads("unknown")


def test_lower_is_better_turns_it_round():
    found = table(higher_is_better=False)
    assert found.order() == ["c", "b", "a", "random"]
    assert found.better("a") == ["c"] and found.leads("c") and found.leads("b")


def test_leaders_are_bold_controls_are_not():
    found = table(higher_is_better=True)
    assert found.cell("a") == "**3.00** [2.00, 4.00]"
    assert found.cell("c") == "1.00 [0.00, 2.00]"
    assert found.cell("random") == "4.00 [3.00, 5.00]"
    assert found.cell("unknown") == ""


def test_precision_compares_the_same_rows_of_the_same_images(tmp_path):
    def run(name: str, values: dict[tuple[str, str], float]) -> Run:
        rows = [
            {"image": image, "group": image, "method": method, "control": False, "seed": 0}
            | {"metric": "srg", "protocol": "token-4", "value": value}
            for (image, method), value in values.items()
        ]
        (tmp_path / name).mkdir()
        pd.DataFrame(rows).to_parquet(tmp_path / name / "records.parquet")
        (tmp_path / name / "summary.json").write_text('{"parts": []}')
        return Run(tmp_path / name)

    exact = run("exact", {("1", "a"): 1.0, ("2", "a"): 2.0, ("3", "a"): 3.0})
    lower = run("lower", {("3", "a"): 3.4, ("2", "a"): 1.9, ("1", "a"): 1.0, ("1", "b"): 9.0})
    found = precision(lower, exact)["srg, token-4"]
    expected = {"pairs": 3, "median": 0.1, "largest": 0.4, "spread": 1.0, "rank": 1.0}
    assert found == pytest.approx(expected)


def test_it_is_told_how_far_ways_of_removing_evidence_agree(tmp_path):
    stability = {"srg": {"names": ["token-3", "mean-3"], "tau": [[1.0, 0.0667], [0.0667, None]]}}
    (tmp_path / "summary.json").write_text(json.dumps({"parts": [], "stability": stability}))
    lines = between_protocols(Run(tmp_path))
    assert "by srg" in lines[1]
    assert lines[3:] == [
        "| | token-3 | mean-3 |", "|---|---:|---:|", "| token-3 | 1.00 | 0.07 |", "| mean-3 | 0.07 |  |",
    ]  # fmt: skip


def test_kinds_are_shown_for_the_rows_that_took_part(tmp_path):
    def analysis(mean: float) -> dict:
        row = {"name": "a", "mean": mean, "low": mean, "high": mean, "control": False}
        return {"images": 4, "methods": [row], "pairs": []}

    part = {"metric": "pointing_game", "protocol": "maps", "higher_is_better": True}
    part |= {"analysis": analysis(0.5), "kinds": {"blur": analysis(0.25), "noise": analysis(0.75)}}
    (tmp_path / "summary.json").write_text(json.dumps({"parts": [part]}))
    lines = by_kind(Run(tmp_path), "pointing_game", ["a", "elsewhere"])
    assert lines[0] == "| kind | images | a |"
    assert lines[2:] == ["| blur | 4 | 0.25 |", "| noise | 4 | 0.75 |"]


def test_two_rows_are_compared_image_by_image_and_groups_count_once(tmp_path):
    images = [(str(i), f"g{i // 2}") for i in range(20)]
    rows = [
        {"image": image, "group": group, "method": method, "control": False, "seed": 0, "metric": "deletion"}
        | {"protocol": "token-4", "value": int(group[1:]) + (1.0 if method == "a" else 0.0)}
        for method in "ab"
        for image, group in (images if method == "a" else images[::-1])
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "records.parquet")
    part = {"metric": "deletion", "protocol": "token-4", "higher_is_better": False}
    part |= {"analysis": {"methods": [], "pairs": []}}
    (tmp_path / "summary.json").write_text(json.dumps({"parts": [part]}))
    found = compare(Run(tmp_path), "deletion", "token-4", "a", "b")
    assert (found.difference, found.verdict.blocks, found.verdict.side) == (1.0, 10, -1)
    assert found.p < 0.01
    assert line("here", found).startswith("| here | a 5.50 | b 4.50 | +1.00 [+1.00, +1.00] | 0.00")
