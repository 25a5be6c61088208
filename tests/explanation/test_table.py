"""Explanations as a table and as a page: what `xai.explain` and `xai.compare` return, and `xai.report`."""

import csv
import inspect
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_detector import classifier, photo

import xai
from xai.core import DataError, Margin, OutputError, Sample, UsageError
from xai.explanation import Explanations, explanations

HOSTILE = "=HYPERLINK('x')"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Explanations, Path]:
    """Three classes, two of them and a contrast explained; one image's name is a formula."""
    out = tmp_path_factory.mktemp("out")
    samples = [
        Sample("plain", photo(0), label="b", group="g"),
        Sample(HOSTILE, photo(1), mask=np.ones((32, 40), bool)),
    ]
    model = classifier(("a", "-b", "c"))
    return xai.explain(
        samples, model, method="gradient_weighted_attention", target=["-b", "a--b", Margin(2)], out=out
    ), out


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_line_holds_what_the_record_of_its_image_holds(made) -> None:
    found, out = made
    frame = found.to_pandas()
    assert len(frame) == 2 * 3 and list(frame["class"][:3]) == ["-b", "a--b", "c-rest"]
    for explanation, (_, rows) in zip(found, frame.groupby("image", sort=False), strict=True):
        record = json.loads((out / rows["record"].iloc[0]).read_text("utf-8"))
        for _, row in rows.iterrows():
            statistics = record["maps"][row["class"]]
            same = {
                "rows": "rows",
                "columns": "cols",
                "min": "min",
                "max": "max",
                "mean": "mean",
                "sum": "sum",
            }
            assert {name: row[name] for name in same} == {name: statistics[key] for name, key in same.items()}
            assert [row["strongest_row"], row["strongest_column"]] == statistics["strongest_patch"]
            assert row["picture"] == record["files"][f"attention of {row['class']}"]
            assert all((out / row[kind]).is_file() for kind in ("picture", "comparison", "maps", "record"))
            assert (row["layers"], row["head_fusion"]) == ("all_layers", "mean")
            assert json.loads(row["options"]) == record["method"]["options"]
            values = explanation.maps[row["class"]]
            assert row["positive_sum"] == pytest.approx(values[values > 0].sum())
            assert row["positive_share"] == pytest.approx(values[values > 0].sum() / np.abs(values).sum())
            assert row["predicted"] == record["predicted"] and row["path"] is None


def test_the_score_is_that_of_the_class_or_the_contrast(made) -> None:
    found, _ = made
    a, b, c = found[0].logits.tolist()
    frame = found.to_pandas()
    assert frame["score"][:3].tolist() == pytest.approx([b, a - b, c - max(a, b)])
    assert frame["probability"][0] == found[0].probabilities["-b"]
    assert frame["probability"][1:3].isna().all()


def test_the_file_holds_the_same_and_no_formula(made, tmp_path) -> None:
    found, _ = made
    frame, rows = found.to_pandas(), read(found.to_csv(tmp_path / "new" / "table.csv"))
    assert list(rows[0]) == list(frame.columns)
    for row, (_, expected) in zip(rows, frame.iterrows(), strict=True):
        for name, text in row.items():
            value = expected[name]
            if isinstance(value, str):
                assert text.removeprefix("'") == value
            elif value is None or pd.isna(value):
                assert text == ""
            else:
                assert float(text) == float(value) if text not in ("True", "False") else text == str(value)
    assert rows[3]["image"] == f"'{HOSTILE}" and frame["image"][3] == HOSTILE
    assert rows[0]["class"] == "'-b" and rows[0]["true_class"] == "b"
    assert not any(text[:1] in "=+@\t\r" for row in rows for text in row.values() if text)
    assert any(float(row["negative_sum"]) < 0 for row in rows), "numbers stay numbers"


def test_what_cannot_be_written_is_said(made, tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Cannot write"):
        made[0].to_csv(tmp_path / "file" / "table.csv")


def test_without_pandas_the_csv_is_left(made, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="use to_csv"):
        made[0].to_pandas()


def test_it_is_a_list_and_travels_without_its_model(made) -> None:
    found, _ = made
    assert isinstance(found, list) and len(found) == 2 and type(found[:1]) is list
    again = pickle.loads(pickle.dumps(found))  # noqa: S301 - our own
    assert type(again) is Explanations and again.explainer is None and found.explainer is not None
    assert again.to_pandas().equals(found.to_pandas())
    assert again.page().images[0].removals == []


def test_a_comparison_has_a_line_for_each_image_and_method() -> None:
    found = xai.compare([photo(0), photo(1)], classifier(), ["attention_rollout", "localisation"])
    frame = found.to_pandas()
    assert frame["method"].tolist() == ["attention_rollout", "localisation"] * 2
    assert frame["preset"].fillna("").tolist() == ["", "localisation"] * 2 and set(frame["class"]) == {
        found.label
    }


def test_a_page_is_that_of_the_command_line(made, tmp_path) -> None:
    found, _ = made
    path = xai.report(found, tmp_path / "new" / "page.html", title="Mine")
    assert path == tmp_path / "new" / "page.html" and "<title>Mine" in path.read_text("utf-8")
    page = found.page()
    assert [len(image.removals) for image in page.images] == [1, 1] and page.fusion is not None
    assert page.shown == (2, 2)


def test_explanations_alone_and_comparisons_are_pages_too(made, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert xai.report(made[0][0]) == Path("attention_results/index.html")
    assert xai.report([*made[0]], tmp_path / "two.html").stat().st_size > 10_000
    found = xai.compare([photo(0)], classifier(), ["attention_rollout", "saliency"])
    assert "attention_rollout" in xai.report(found, "three.html").read_text("utf-8")


def test_what_makes_no_page_is_refused(made) -> None:
    model = classifier()
    other = xai.explain(photo(0), model, method="saliency")
    for wrong, kind, words in (
        ([], DataError, "no explanation"),
        ([*made[0], *other], UsageError, "several methods or models"),
        (3, UsageError, "No page can be made of int"),
        ([1], UsageError, "No page can be made of list"),
    ):
        with pytest.raises(kind, match=words):
            xai.report(wrong)
    failed = xai.explain(["none.png"], model, failures=(failures := []))
    assert failures and failed._repr_html_() is None and failed.to_pandas().empty


def test_a_notebook_shows_the_first_of_many_and_asks_no_model(made, monkeypatch) -> None:
    monkeypatch.setattr(explanations, "SHOWN", 1)
    monkeypatch.setattr(made[0].explainer.classifier, "forward", None)
    html = made[0]._repr_html_() or ""
    assert html.startswith("<iframe") and "plain" in html and "HYPERLINK" not in html


def test_the_room_is_a_call_and_keeps_its_names() -> None:
    import xai.report

    assert list(inspect.signature(xai.report).parameters) == ["results", "path", "title"]
    assert callable(xai.report.save) and xai.report.__name__ == "xai.report"
    assert pickle.loads(pickle.dumps(xai.report.save)) is xai.report.save  # noqa: S301 - our own
