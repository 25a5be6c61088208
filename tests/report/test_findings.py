import copy
import json
import re

import pytest
from report_pages import benchmark_page, comparison_page, demo_summary, explanation_page

from xai.bench.results.markdown import to_markdown
from xai.report import to_html
from xai.report.about import linked, prose_without_folders, provenance_of
from xai.report.findings import findings_of
from xai.report.sentences import against_controls, against_random, at_the_top
from xai.stats import Summary, words
from xai.stats.results import LEADING


@pytest.fixture
def summary():
    return demo_summary()


def page_of(summary):
    return benchmark_page(0).model_copy(update={"summary": Summary.from_dict(summary), "parts": []})


def test_every_row_stands_in_one_verdict_that_fits_its_tests(summary):
    parts = Summary.from_dict(summary).parts[:3]
    said = {row.removesuffix(" (control)"): one for one in against_random(parts) for row in one.methods}
    methods = [one.name for one in parts[0].analysis.methods if one.name != "random"]
    assert sorted(said) == sorted(methods)
    for name, verdict in said.items():
        outcomes = {part.analysis.method(name).verdict.outcome for part in parts}
        assert (verdict.tone == "good") == (outcomes == {"better"})
        assert ("worse" in verdict.lead) == ("worse" in outcomes)


def test_a_control_that_no_method_beats_is_told(summary):
    """By deletion the raw attention of the last layer is best; nothing is better than it."""
    found = against_controls([Summary.from_dict(summary).parts[1]])
    assert [(one.tone, one.methods) for one in found] == [("bad", ())]
    assert "raw_last_layer" in found[0].lead and "none" in found[0].lead


def test_saturated_rows_and_too_few_images_are_no_success(summary):
    part = summary["parts"][0]
    methods = part["analysis"]["methods"]
    methods[0] |= {"saturated": 208, "saturated_of": 208}
    methods[1] |= {"p_reference": 0.5, "smallest_p": 0.25}
    said = {row: one for one in against_random([Summary.from_dict(summary).parts[0]]) for row in one.methods}
    assert "saturated" in said[methods[0]["name"]].lead.lower() and said[methods[0]["name"]].tone != "good"
    assert "too few" in said[methods[1]["name"]].lead.lower() and said[methods[1]["name"]].tone != "good"


def test_other_words_change_no_colour_count_or_mark(summary, monkeypatch):
    def marks() -> list[str]:
        found = findings_of(page_of(summary))
        tables = [table for one in found.protocols for table in (one.table, one.rankings[0].table) if table]
        cells = [cell for table in tables for line in table.lines for cell in line.cells]
        tones = [f"{cell.tone} {cell.text[:1] if cell.text[:1] in '▲○▼?–' else ''}" for cell in cells]
        return [*tones, *(one.about for one in found.protocols)]

    before = marks()
    for phrases in (words.FULL, words.SHORT):
        for outcome in phrases:
            monkeypatch.setitem(phrases, outcome, "worse? {p} – nothing is better")
    assert marks() == before


def test_warnings_say_what_a_reader_must_know(summary):
    summary["units"] = [39, 40]
    summary["answers"]["mean-3"]["kept"] = 7
    summary["parts"][0]["saturated_images"] = 5
    said = "\n".join(findings_of(page_of(summary)).warnings)
    for text in ("39 of 40 items", "7 of 208 images", "5 images of 208 are saturated", "62 % of its patches"):
        assert text in said


def test_a_warning_says_what_it_is_about(summary):
    for part in summary["parts"][:2]:
        part["analysis"]["excluded"] = 7
    first, second = (part["metric"] for part in summary["parts"][:2])
    said = findings_of(page_of(summary)).warnings
    protocol = summary["parts"][0]["protocol"]
    note = "7 images excluded: the score of some method is undefined there."
    assert f"{first} and {second} under {protocol}: {note}" in said
    assert f"- {first} and {second} under {protocol}: {note}\n" in to_markdown(Summary.from_dict(summary))
    for part in summary["parts"]:
        part["analysis"]["excluded"] = 7
    assert note in findings_of(page_of(summary)).warnings, "what holds of all needs no names"
    assert f"- {note}\n" in to_markdown(Summary.from_dict(summary))


def test_ties_are_told_of_patches_not_of_pixels(summary):
    """Pixels drawn from a patch map tie by nature."""
    drawn = summary["parts"][-1]
    summary["protocols"] = [one | {"unit": "patch"} for one in summary["protocols"]]
    summary["protocols"].append(summary["protocols"][0] | {"name": drawn["protocol"], "unit": "pixel"})
    for part in summary["parts"]:
        part["ties"] = {"chefer": 1.0 if part is drawn else 0.0}
    said = findings_of(page_of(summary)).warnings
    assert not any("share their relevance" in one for one in said)
    summary["protocols"].pop()
    said = findings_of(page_of(summary)).warnings
    assert any(one.startswith("chefer: 100 % of its patches") for one in said)


def test_an_unfinished_run_names_the_images_measured(summary):
    page = page_of(summary).model_copy(update={"shown": (0, 16)})
    assert findings_of(page).about == "16 of 208 images measured."
    assert findings_of(page_of(summary)).about == "208 images."


def test_pages_of_runs_with_next_to_nothing(summary):
    """No image, no method, nothing known: the page says so and does not break."""
    empty = copy.deepcopy(summary)
    for part in empty["parts"]:
        part["analysis"] |= {"methods": [], "pairs": [], "friedman": None, "critical_difference": None}
        part["analysis"] |= {"images": 0, "blocks": 0, "reference": None}
        part |= {"curves": {}, "greedy": None, "ties": {}, "saturated": {}}
        part["split_half"] |= {"mean": None, "low": None, "high": None, "splits": 0}
    empty |= {"stability": {}, "agreement": {}, "answers": {}, "cost": {}, "methods": [], "images": 0}
    content = to_html(page_of(empty))
    assert "no method has a score on every image" in content and "No image has a score" in content
    assert at_the_top(Summary.from_dict(empty).parts[:1])[0].lead.startswith("By srg no method")


def test_unknown_numbers_are_empty_cells(summary):
    for part in summary["parts"]:
        for one in part["analysis"]["methods"]:
            one |= {"low": None, "high": None, "p_reference": None, "superiority": None}
        part["split_half"]["mean"] = None
        part["ties"] = dict.fromkeys(part["ties"])
    for one in (*summary["agreement"].values(), *summary["stability"].values()):
        one["tau"] = [[None for _ in line] for line in one["tau"]]
    for one in summary["cost"].values():
        one["seconds"] = None
    content = to_html(page_of(summary))
    cells = set(re.findall(r"<td[^>]*>(?:<span[^>]*>)?([^<]*)<", content))
    assert len(cells) > 100 and not cells & {"None", "nan", "NaN"}


def test_strata_are_told_by_class(summary):
    part = summary["parts"][0]
    part["strata"] = {"real <b>": part["analysis"], "fake": part["analysis"]}
    found = findings_of(page_of(summary)).protocols[0].rankings[0].strata
    assert [one.title for one in found.columns] == ["method", "real <b> (n=208)", "fake (n=208)"]
    assert found.columns[1].note == "208 images in 16 groups"
    means = {one["name"]: one["mean"] for one in part["analysis"]["methods"]}
    assert {line.cells[0].text: line.cells[1].value for line in found.lines} == means
    assert "real &lt;b&gt;" in to_html(page_of(summary)) and "real <b>" not in to_html(page_of(summary))


def test_kinds_are_told_of_the_leading_methods_and_the_controls(summary):
    part = summary["parts"][0]
    assert findings_of(page_of(summary)).protocols[0].rankings[0].kinds is None, "of before there were kinds"
    one = next(m for m in part["analysis"]["methods"] if not m["control"])
    more = [one | {"name": f"later_{i}", "mean_rank": 20.0 + i} for i in range(3)]
    part["analysis"]["methods"] += more
    few = part["analysis"] | {"methods": [m | {"low": None} for m in part["analysis"]["methods"][1:]]}
    empty = part["analysis"] | {"methods": [], "images": 0}
    part["kinds"] = {"splice <b>": part["analysis"], "seam": few, "blur": empty}
    found = findings_of(page_of(summary)).protocols[0].rankings[0].kinds
    assert [one.title for one in found.columns] == ["method", "splice <b> (n=208)", "seam (n=208)"]
    methods = {m["name"]: m for m in part["analysis"]["methods"]}
    names = [line.cells[0].text for line in found.lines]
    assert [methods[name]["mean_rank"] for name in names] == sorted(methods[n]["mean_rank"] for n in names)
    assert {n for n, m in methods.items() if m["control"]} <= set(names)
    assert [name for name in names if not methods[name]["control"]] == [
        m["name"] for m in sorted(methods.values(), key=lambda m: m["mean_rank"]) if not m["control"]
    ][:LEADING]
    for line in found.lines:
        name, splice, seam = line.cells
        expected = methods[name.text]
        assert splice.value == expected["mean"] and splice.text.count("…") == 1
        assert seam.value == (
            None if name.text == part["analysis"]["methods"][0]["name"] else expected["mean"]
        )
        assert "…" not in seam.text
    content = to_html(page_of(summary))
    assert content.count("By kind of manipulation") == 1 and "splice &lt;b&gt;" in content


def test_every_row_name_is_escaped(summary):
    text = json.dumps(summary).replace("chefer", "<img src=x onerror=alert(1)>")
    content = to_html(page_of(json.loads(text)))
    assert "<img src=x" not in content and "&lt;img src=x" in content


@pytest.mark.parametrize("make", [explanation_page, comparison_page])
def test_other_pages_have_provenance_and_no_findings(make):
    page = make(1)
    assert findings_of(page) is None
    captions = [one.caption for one in provenance_of(page)]
    assert captions[:2] == ["The model", "This page"] and "Versions" in captions


def test_references_link_numbers_of_arxiv_alone():
    assert linked("A 2024 (arXiv 2403.14552), B 12.3456") == [
        ("A 2024 (", None),
        ("arXiv 2403.14552", "https://arxiv.org/abs/2403.14552"),
        ("), B 12.3456", None),
    ]
    assert linked("doi 10.1109/5.2403.145521 javascript:alert(1)")[0][1] is None
    assert linked("") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/home/b/w.csv:11: no such image /home/b/we ird/none.png.", "w.csv:11: no such image none.png."),
        (
            "the mask /a b/m.png has 9 × 9 pixels, its image /c/d.png 8.",
            "the mask m.png has 9 × 9 pixels, its image d.png 8.",
        ),
        ("C:\\Users\\me\\x.png: broken (D:/y/z.png)", "x.png: broken (z.png)"),
        (
            "read s3://bucket/key/x.tar, 3/4 of it, 1 / 2 and/or none",
            "read s3://bucket/key/x.tar, 3/4 of it, 1 / 2 and/or none",
        ),
        ("the map holds NaN or infinity", "the map holds NaN or infinity"),
    ],
)
def test_reasons_lose_their_folders_not_their_words(text, said):
    assert prose_without_folders(text) == said
