"""The verdict of a benchmark's page follows from typed verdicts, and claims no more than these."""

import json

import pytest
from report_pages import benchmark_page, demo_summary

from xai.report.headlines import evidence_of, leaders
from xai.report.overview import overview_of
from xai.report.page import to_html
from xai.report.payload import PageMetric
from xai.report.worded import in_words, names_of, read_in_words
from xai.stats import Summary

SRG = "srg"


@pytest.fixture
def summary():
    return demo_summary()


def said(summary):
    """Title → statement, of the page of a summary."""
    page = benchmark_page(0).model_copy(update={"summary": Summary.from_dict(summary), "parts": []})
    read, names = read_in_words(page)
    found = overview_of(page, read, names, "208 images")
    return {one.title: one.text for one in found.statements}


def of(summary, metric):
    return [part["analysis"] for part in summary["parts"] if part["metric"] == metric]


def judge(analysis, name, p, superiority=0.9):
    one = next(one for one in analysis["methods"] if one["name"] == name)
    one |= {"p_reference": p, "superiority": superiority, "side": 1 if superiority > 0.5 else -1}


def tell_apart(analysis, first, second, apart):
    names = {first, second}
    pair = next(pair for pair in analysis["pairs"] if {pair["first"], pair["second"]} == names)
    pair["distinguishable"] = apart


def test_leaders_beat_random_maps_and_are_beaten_by_no_method(summary):
    for part in Summary.from_dict(summary).parts:
        analysis = part.analysis
        if analysis.reference is None:
            continue
        ranks = {one.name: one.mean_rank for one in analysis.methods if not one.control}
        beaten = set()
        for pair in analysis.pairs:
            if pair.distinguishable and {pair.first, pair.second} <= set(ranks):
                beaten.add(max((pair.first, pair.second), key=ranks.__getitem__))
        better = {one.name for one in analysis.methods if one.verdict.outcome == "better"}
        assert set(leaders(part)) == (set(ranks) & better) - beaten


def test_a_single_leader_is_the_one_to_use(summary):
    for analysis in of(summary, SRG):
        best = "integrated_mask_gradient"
        next(one for one in analysis["methods"] if one["name"] == best)["mean_rank"] = 1.0
        for one in analysis["methods"]:
            if one["name"] != best:
                tell_apart(analysis, best, one["name"], True)
    text = said(summary)["For faithfulness:"]
    assert text.startswith(
        "use integrated mask gradient. By SRG (patches dropped, patches in the mean colour)"
    )
    assert "significantly, every other method" in text and "control" not in text


def test_where_nothing_separates_methods_that_is_said(summary):
    for analysis in of(summary, SRG):
        for pair in analysis["pairs"]:
            pair["distinguishable"] = False
    text = said(summary)["For faithfulness:"]
    assert text.startswith("nothing separates integrated mask gradient, Chefer's rollout, LeGrad,")
    assert "4 more" in text and "none is significantly better than another" in text and "use" not in text


def test_leaders_that_change_with_the_protocol_are_told_by_protocol(summary):
    first, second = of(summary, SRG)
    for analysis, best in ((first, "chefer"), (second, "legrad")):
        next(one for one in analysis["methods"] if one["name"] == best)["mean_rank"] = 1.0
        for one in analysis["methods"]:
            if one["name"] != best:
                tell_apart(analysis, best, one["name"], True)
    text = said(summary)["For faithfulness:"]
    assert text == (
        "it depends on how evidence is removed. By SRG, patches dropped: Chefer's rollout. "
        "By SRG, patches in the mean colour: LeGrad."
    )


def test_what_fails_is_named_with_its_reason(summary):
    judge(of(summary, SRG)[1], "legrad", 0.4)
    judge(of(summary, SRG)[0], "input_x_gradient", 0.001, superiority=0.1)
    judge(of(summary, "average_precision")[0], "mask_gradient", 0.9)
    text = said(summary)["Not to be relied on:"]
    assert text == (
        "LeGrad (faithfulness not told from random maps); input × gradient (less faithful than random maps); "
        "mask gradient (localisation not told from random maps)."
    )
    assert "LeGrad" not in said(summary)["For faithfulness:"]


def test_without_any_success_nothing_is_recommended(summary):
    for analysis in of(summary, SRG):
        for one in analysis["methods"]:
            if one["p_reference"] is not None:
                one["p_reference"] = 0.5
    text = said(summary)["For faithfulness:"]
    assert text.startswith("none: no method is shown to be better than random maps by SRG (patches dropped,")
    assert "use " not in text


def test_other_words_change_no_recommendation(summary, monkeypatch):
    from xai.stats import words

    def names():
        page = benchmark_page(0).model_copy(update={"summary": Summary.from_dict(summary), "parts": []})
        found = overview_of(page, *read_in_words(page), "208 images")
        return [piece.text for one in found.statements for piece in one.pieces if piece.row]

    before = names()
    for phrases in (words.FULL, words.SHORT):
        for outcome in phrases:
            monkeypatch.setitem(phrases, outcome, "worse? {p} – nothing is better")
    assert names() == before and len(before) > 5


def test_without_masks_localisation_was_not_measured(summary):
    summary["parts"] = [part for part in summary["parts"] if part["protocol"] != "maps"]
    found = said(summary)
    assert found["For localisation:"] == "not measured in this run, which has no masks of what was forged."
    assert "in both" not in found["Not to be relied on:"]


def test_without_random_maps_nothing_is_claimed(summary):
    for part in summary["parts"]:
        part["analysis"]["reference"] = None
    found = said(summary)
    assert list(found) == ["For faithfulness:", "For localisation:"]
    assert found["For faithfulness:"] == "not measured in this run."


def test_metrics_of_others_say_themselves_what_they_need(summary):
    parts = Summary.from_dict(summary).parts[:1]
    known = PageMetric(key="mine|token-6", metric="mine", protocol="token-6")
    faithful, placed = evidence_of(parts, [known.model_copy(update={"needs": "mask"})], ["mine"])
    assert not faithful.results and placed.results == parts
    faithful, placed = evidence_of(parts, [known], ["mine"])
    assert not faithful.results and not placed.results


def test_names_in_words_change_nothing_else(summary):
    """Back under the names that were given, the summary is what it was."""
    plain = Summary.from_dict(summary)
    names = names_of(plain)
    read = json.dumps(in_words(plain, names).as_dict(), ensure_ascii=False)
    for kind in (names.rows, names.metrics, names.protocols):
        assert len(set(kind.values())) == len(kind)
        for name, words in kind.items():
            assert names.given(words) == ("" if name == words else name)
            read = read.replace(json.dumps(words, ensure_ascii=False), json.dumps(name))
    back, plain = json.loads(read), plain.as_dict()
    for part in back["parts"]:
        given = next(
            p for p in plain["parts"] if p["metric"] == part["metric"] and p["protocol"] == part["protocol"]
        )
        assert part["curves"] == given["curves"] and part["saturated"] == given["saturated"]
        assert part["analysis"]["pairs"] == given["analysis"]["pairs"]
    assert back["cost"] == plain["cost"] and back["agreement"] == plain["agreement"]


def test_rows_of_one_method_are_read_unlike_each_other(summary):
    text = (
        json.dumps(summary)
        .replace('"legrad"', '"chefer "')
        .replace('"gwa_signed_all"', '"Chefer\'s rollout"')
    )
    names = names_of(Summary.from_dict(json.loads(text)))
    assert len(set(names.rows.values())) == len(names.rows)


def test_many_methods_leave_the_figure_readable(summary):
    """The best are drawn, the rest counted."""
    for part in summary["parts"]:
        methods = part["analysis"]["methods"]
        one = next(m for m in methods if m["name"] == "legrad")
        methods += [one | {"name": f"later_{i}", "mean_rank": 20.0 + i} for i in range(5)]
    content = to_html(
        benchmark_page(0).model_copy(update={"summary": Summary.from_dict(summary), "parts": []})
    )
    assert "3 more methods stand in the rankings below." in content
