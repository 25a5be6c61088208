"""What a benchmark page says, draws, sorts and hands on equals its summary."""

import csv
import io
import re

import pytest
from playwright.sync_api import expect
from report_pages import benchmark_page, comparison_page, explanation_page

from xai.report import to_html
from xai.report.render import charts_of
from xai.report.worded import names_of, read_in_words
from xai.stats import Summary

FIRST = "#part-0 .data-table >> nth=0"
SHAPES = {"intervals": 12, "ranks": 5, "curves": 12 * 7, "places": 36, "agreement": 9, "stability": 4}
MARKS = """(chart) => [...chart.querySelectorAll("svg g[class*=mark-][class*=role-mark]")]
  .map((group) => group.querySelectorAll(":scope > :is(path, text, line)").length)"""


@pytest.fixture(scope="module")
def page():
    return benchmark_page(2)


@pytest.fixture(scope="module")
def summary(page):
    return page.summary.as_dict()


@pytest.fixture(scope="module")
def read(page):
    """The page with names as they are read."""
    return read_in_words(page)[0]


@pytest.fixture(scope="module")
def names(page):
    return names_of(page.summary)


@pytest.fixture(scope="module")
def unfolded_page(open_once, page):
    """With everything open, for tests that only look."""
    tab = open_once(page, controls=False)
    tab.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    return tab


@pytest.fixture(scope="module")
def tab(open_once, page):
    """With the first ranking open, for tests that open folds or sort the ranking."""
    return open_once(page, controls=False, hash="#part-0")


def unfolded(found):
    """The element, in view; whatever folds it is opened."""
    found.evaluate("""(one) => {
      for (let at = one.closest("details"); at; at = at.parentElement.closest("details")) at.open = true;
      one.scrollIntoView({block: "center"});
    }""")
    return found


def chart(tab, key):
    """The chart, drawn; whatever folds it is opened."""
    found = unfolded(tab.locator(f"[data-chart='{key}']"))
    expect(found).to_have_attribute("data-drawn", "true", timeout=30_000)
    found.scroll_into_view_if_needed()
    return found


def column(tab, title):
    """Exact values of a column of the first ranking, in the order shown."""
    heads = tab.locator(f"{FIRST} >> thead th").all_inner_texts()
    place = [head.split("\n")[0].strip() for head in heads].index(title)
    cells = (
        "(rows, place) => rows.map((r) => r.cells[place].dataset.value ?? r.cells[place].textContent.trim())"
    )
    return tab.locator(f"{FIRST} >> tbody tr").evaluate_all(cells, place)


def given(tab):
    """Names that configurations have, of the rows of the first ranking."""
    return tab.locator(f"{FIRST} >> tbody th").evaluate_all(
        "(all) => all.map((one) => one.dataset.given ?? null)"
    )


def press(tab, title):
    tab.locator(f"{FIRST} >> thead").get_by_role("button", name=title, exact=True).press("Enter")


def test_protocols_and_metrics_are_explained_where_they_stand(unfolded_page):
    fold = unfolded_page.locator("#protocol-0")
    expect(fold.locator("summary code").first).to_have_text("token-6")
    expect(fold).to_contain_text("masked in the model's attention; nothing stands in its place")
    expect(fold).to_contain_text("The margin of the true class over all others is followed, in 6 steps.")
    expect(unfolded_page.locator("#protocol-3")).to_contain_text("Checks that explain an image many times")


def test_every_verdict_stands_in_words(unfolded_page, summary, names):
    text = unfolded_page.locator("main").inner_text()
    assert text.index("What can be trusted") < text.index("Rankings") < text.index("Cost")
    said = unfolded_page.locator(
        "#protocol-0 li", has_text="Better than random maps by every metric"
    ).first.inner_text()
    parts = [part for part in summary["parts"] if part["protocol"] == "token-6"]
    better = [{m["name"] for m in part["analysis"]["methods"] if m["outcome"] == "better"} for part in parts]
    always = {names.rows[name] for name in set.intersection(*better)}
    assert set(re.split(r", ", said.split(": ")[1].rstrip("."))) == always
    for note in {note for part in summary["parts"] for note in part["analysis"]["notes"]}:
        expect(unfolded_page.locator("#warnings")).to_contain_text(note)


def test_rows_at_the_top_that_cannot_be_told_apart(unfolded_page, summary, names):
    part = summary["parts"][0]
    best = min(part["analysis"]["methods"], key=lambda one: one["mean_rank"])["name"]
    like = {
        names.rows[pair["first"] if pair["second"] == best else pair["second"]]
        for pair in part["analysis"]["pairs"]
        if best in (pair["first"], pair["second"]) and not pair["distinguishable"]
    }
    said = unfolded_page.locator("#protocol-0 li", has_text="Best by SRG").first
    expect(said).to_contain_text(names.rows[best])
    found = said.locator(".row-name").all_inner_texts()
    assert {name.removesuffix(" (control)") for name in found} == like


def test_the_ranking_holds_the_numbers_of_the_summary(unfolded_page, summary):
    tab = unfolded_page
    methods = {one["name"]: one for one in summary["parts"][0]["analysis"]["methods"]}
    rows = [one or "greedy order" for one in given(tab)]
    assert rows == [*sorted(methods, key=lambda name: methods[name]["mean_rank"]), "greedy order"]
    for title, key in (("mean", "mean"), ("to", "high"), ("mean rank", "mean_rank"), ("P(best)", "p_best")):
        assert [float(v) for v in column(tab, title)[:-1]] == [methods[name][key] for name in rows[:-1]]
    greedy = summary["parts"][0]["greedy"]
    assert float(column(tab, "mean on 2 images")[-1]) == greedy["mean"]


def test_controls_are_marked_wherever_rows_stand(unfolded_page, summary):
    tab = unfolded_page
    controls = [one["name"] for one in summary["parts"][0]["analysis"]["methods"] if one["control"]]
    marked = tab.locator(f"{FIRST} >> tr.control th").evaluate_all(
        "(all) => all.map((one) => one.dataset.given)"
    )
    assert sorted(marked) == sorted(controls)
    expect(tab.locator(f"{FIRST} >> tr.control").first).to_contain_text("control")


def test_sorting_by_keyboard(tab, summary, names):
    means = {names.rows[one["name"]]: one["mean"] for one in summary["parts"][0]["analysis"]["methods"]}
    head = tab.locator(f"{FIRST} >> thead th", has_text=re.compile("^mean$"))
    press(tab, "mean")
    assert column(tab, "method")[:-1] == sorted(means, key=means.get)
    expect(head).to_have_attribute("aria-sort", "ascending")
    press(tab, "mean")
    assert column(tab, "method") == [*sorted(means, key=means.get, reverse=True), "greedy order"]
    expect(head).to_have_attribute("aria-sort", "descending")
    press(tab, "method")
    assert column(tab, "method") == sorted([*means, "greedy order"], key=str.casefold)
    expect(head).not_to_have_attribute("aria-sort", re.compile("."))


def test_csv_holds_exact_numbers(tab, summary):
    tab.locator(f"{FIRST} >> button.copy").click()
    expect(tab.locator(f"{FIRST} >> [role=status]")).to_have_text("✓ Copied 13 rows.")
    rows = list(csv.DictReader(io.StringIO(tab.evaluate("navigator.clipboard.readText()"))))
    for one in summary["parts"][0]["analysis"]["methods"]:
        row = next(row for row in rows if row["method"] == one["name"])
        assert float(row["mean"]) == one["mean"]
        assert float(row["95 % from"]) == one["low"]
        assert float(row["mean rank"]) == one["mean_rank"]
        assert row["p"] == "" if one["p_reference"] is None else float(row["p"]) == one["p_reference"]
        assert row["kind"] == ("control" if one["control"] else "")


def test_what_a_spreadsheet_would_run_is_copied_as_text(open_page, page):
    summary = page.summary.as_dict() | {
        "exclusions": [
            {"image": name, "method": "*", "protocol": "*", "reason": 'said "no", twice'}
            for name in ("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "-0.5", "plain")
        ]
    }
    tab = open_page(page.model_copy(update={"summary": Summary.from_dict(summary)}))
    unfolded(tab.locator("#exclusions button.copy")).click()
    rows = list(csv.reader(io.StringIO(tab.evaluate("navigator.clipboard.readText()"))))
    assert [row[0] for row in rows[1:]] == [
        "'=1+1",
        "'+cmd|' /C calc'!A0",
        "'-2+3",
        "'@SUM(A1)",
        "-0.5",
        "plain",
    ]
    assert rows[1][3] == 'said "no", twice'


def test_every_chart_draws_as_many_marks_as_it_has_data(tab, read):
    charts = charts_of(read)
    drawn = tab.locator(".chart").evaluate_all("(all) => all.map((one) => one.dataset.chart)")
    assert sorted(drawn) == sorted(charts)
    for key in charts:
        element = chart(tab, key)
        kind, _, place = key.partition("-")
        if place == "0":
            assert SHAPES[kind] in element.evaluate(MARKS), key
        expect(element.locator("svg[role=img]").first).to_have_attribute(
            "aria-label", charts[key]["description"]
        )
        expect(element.locator(".chart-error")).to_have_count(0)


def test_folded_charts_wait(open_page, page):
    tab = open_page(page, controls=False, hash="#part-0")
    chart(tab, "places-0")
    assert tab.locator("details:not([open]) .chart[data-drawn]").count() == 0


def test_the_pointer_reads_a_value_of_the_summary(tab, read):
    element = chart(tab, "curves-1")
    box = element.locator("svg").first.bounding_box()
    tab.mouse.move(box["x"] + 0.45 * box["width"], box["y"] + 0.4 * box["height"], steps=5)
    tip = tab.locator("#chart-tip")
    expect(tip).to_be_visible()
    said = dict(zip(tip.locator("dt").all_inner_texts(), tip.locator("dd").all_inner_texts(), strict=True))
    points = charts_of(read)["curves-1"]["data"]["values"]
    keys = ("method", "share removed", "mean", "interval")
    assert said in [{key: point[key] for key in keys} for point in points]
    curve = read.summary.parts[1].curves[said["method"].removesuffix(" (control)")]
    assert float(said["mean"].replace("−", "-")) in [pytest.approx(v, abs=0.01) for v in curve.mean]
    tab.mouse.move(5, 5)
    expect(tip).to_be_hidden()


def test_the_legend_brings_rows_out(tab):
    element = chart(tab, "curves-0")
    opacities = """(chart) => [...chart.querySelectorAll(".mark-line path")]
      .map((one) => one.getAttribute("opacity") ?? "1")"""
    assert len(element.locator(".legend button").all()) == 12
    assert set(element.evaluate(opacities)) == {"1"}
    element.get_by_role("button", name="Chefer's rollout").press("Enter")
    expect(element.get_by_role("button", name="Chefer's rollout")).to_have_attribute("aria-pressed", "true")
    shown = element.evaluate(opacities)
    assert sum(one == "1" for one in shown) == 5  # the controls stay
    element.get_by_role("button", name="Chefer's rollout").press("Enter")
    assert set(element.evaluate(opacities)) == {"1"}


def test_charts_follow_the_theme(tab):
    element = chart(tab, "curves-0")
    colour = "(chart) => getComputedStyle(chart.querySelector('.mark-line path[stroke*=chart-1]')).stroke"
    light = element.evaluate(colour)
    tab.evaluate("document.documentElement.dataset.theme = 'dark'")
    dark = element.evaluate(colour)
    tab.evaluate("delete document.documentElement.dataset.theme")
    assert (light, dark) == ("rgb(5, 89, 151)", "rgb(117, 186, 232)")


def test_a_chart_that_cannot_be_drawn_says_so(open_page, page, tmp_path):
    """Such as one whose library got lost on the way."""
    content = to_html(page)
    path = tmp_path / "broken.html"
    path.write_text(re.sub(r'(?s)(id="data-library">)[^<]*', r"\1", content), "utf-8")
    element = unfolded(open_page(path).locator("[data-chart='places-0']"))
    expect(element.locator(".chart-error")).to_contain_text("Its numbers stand in the tables.")
    assert element.page.locator("#part-0 td.number").count() > 100


def test_on_a_phone_wide_things_scroll_in_their_own_boxes(open_page, page):
    tab = open_page(page, controls=False, width=360, height=740)
    for key in ("places-0", "intervals-0", "ranks-0", "curves-0", "agreement-2"):
        chart(tab, key)
    tab.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    wide = tab.locator("[data-chart='ranks-0']")
    assert wide.evaluate("(one) => one.scrollWidth > one.clientWidth && one.tabIndex === 0")


def test_cards_say_what_was_measured_and_what_was_not(unfolded_page, page):
    tab = unfolded_page
    cards = tab.locator(".saliency-card")
    expect(cards).to_have_count(len(page.cards))
    chefer = cards.filter(has=tab.locator("h3 code", has_text=re.compile("^chefer$")))
    expect(chefer).to_contain_text(re.compile(r"class sensitivity: 0\.40 on 2 images"))
    expect(chefer).to_contain_text(re.compile(r"randomised model.*not measured in this run"))
    expect(chefer).to_contain_text("18.9 ms per image, measured")
    link = chefer.locator("a")
    expect(link).to_have_attribute("href", "https://arxiv.org/abs/2403.14552")
    expect(link).to_have_attribute("rel", "noreferrer")


def test_only_numbers_of_arxiv_become_links(open_page):
    page = benchmark_page(1)
    hostile = 'javascript:alert(1) <a href="https://evil.example">2403.14552</a> arXiv 12345.67890 2206.02958'
    cards = [card.model_copy(update={"reference": hostile}) for card in page.cards]
    tab = open_page(page.model_copy(update={"cards": cards}))
    links = tab.locator(".saliency-card >> nth=0").locator("a")
    found = links.evaluate_all("(all) => all.map((one) => one.getAttribute('href'))")
    assert found == ["https://arxiv.org/abs/2403.14552", "https://arxiv.org/abs/2206.02958"]


@pytest.mark.parametrize("make", [explanation_page, comparison_page, benchmark_page])
def test_provenance_is_told_on_every_page(open_page, make):
    tab = open_page(make(1))
    tab.evaluate("document.querySelectorAll('#provenance details').forEach((one) => { one.open = true; })")
    for text in ("3f" * 32, "float32", "2.13.0", "seed", "xai.report/1"):
        expect(tab.locator("#provenance")).to_contain_text(text)
    if make is benchmark_page:
        expect(tab.locator("#provenance")).to_contain_text("6bc4d4aaed06")


def test_without_scripts_the_numbers_are_there(open_page, page):
    tab = open_page(page, controls=False, java_script_enabled=False, wait_ready=False)
    for text in ("What can be trusted", "greedy order", "Kendall τ between random halves"):
        expect(tab.locator("main")).to_contain_text(text)
    assert tab.locator("#part-0 td.number").count() > 100
    expect(tab.locator("[data-chart='curves-0']")).to_contain_text("the numbers stand in the tables")
