import json
from dataclasses import asdict

import numpy as np
import pytest
from bench_runs import record

from xai.bench import (
    compare_runs,
    export,
    read_records,
    run_benchmark,
    status,
    summarise,
    to_markdown,
    write_summary,
)
from xai.bench.results.score_tables import score_tables
from xai.bench.run.store import Store, WorkResult
from xai.core import DataError, Record, UsageError
from xai.stats import Outcome as Compared
from xai.stats.words import notes_of

METHODS = {"good": 1.0, "useless": 0.0, "random_0": 0.0, "random_1": 0.0, "center_prior": -0.5, "greedy": 2.0}


@pytest.fixture(scope="module")
def planted(finished, tmp_path_factory):
    """A run folder whose records are drawn: `good` is better than random by one standard deviation."""
    rng = np.random.default_rng(0)
    records = []
    for image in range(40):
        level = rng.normal(0, 3)
        for name, shift in METHODS.items():
            if name == "greedy" and image >= 4:
                continue
            value = level + shift + rng.normal()
            # `level + shift` is the curve's start, so mean curves can be told from the values
            records += [
                record(image, name, "srg", value),
                record(image, name, "deletion", -value, curve=(level + shift, 0.0)),
            ]
    folder = tmp_path_factory.mktemp("planted")
    about = json.loads((finished / "run.json").read_text())
    about["plan"] = {"images": 40, "units": [{"key": "all", "protocol": "mean"}]}
    about["config"]["statistics"]["resamples"] = 999
    (folder / "run.json").write_text(json.dumps(about))
    Store(folder).write("all", WorkResult(tuple(records)))
    return folder


def test_a_constant_map_does_not_win_the_pointing_game(finished, tmp_path):
    """It scores chance on every image, which a random map misses on most: by ranks it would be far ahead."""
    rng, images = np.random.default_rng(0), 300
    about = json.loads((finished / "run.json").read_text())
    about["plan"] = {"images": images, "units": [{"key": "all", "protocol": "mean"}]}
    about["config"]["statistics"]["resamples"] = 99
    (tmp_path / "run.json").write_text(json.dumps(about))
    chance = rng.uniform(0.02, 0.15, images)
    rows = {"uniform": chance, "twin": chance, "good": rng.random(images) < 0.4}
    rows |= {f"random_{seed}": rng.random(images) < chance for seed in range(3)}
    records = [
        record(image, name, "pointing_game", float(value[image]))
        for image in range(images)
        for name, value in rows.items()
    ]
    Store(tmp_path).write("all", WorkResult(tuple(records)))
    (part,) = summarise(tmp_path).parts
    outcomes = {one.name: one.verdict.outcome for one in part.analysis.methods}
    assert outcomes["uniform"] is outcomes["twin"] is Compared.UNCLEAR
    assert outcomes["good"] is Compared.BETTER and part.analysis.ranked[0].name == "good"
    table = score_tables(tmp_path)[0]
    assert set(np.unique(table.column("uniform"))) == {0.0, 1.0}
    assert np.array_equal(table.column("uniform"), table.column("twin")), "equal maps share their lots"
    assert abs(table.column("uniform").mean() - chance.mean()) < 0.05


def test_what_was_planted_is_found_and_what_is_random_is_not(planted):
    summary = summarise(planted)
    srg, deletion = summary.parts
    for part in (srg, deletion):
        found = {one.name: one for one in part.analysis.methods}
        assert found.keys() == {"good", "useless", "random", "center_prior"}
        assert found["good"].verdict.outcome is Compared.BETTER
        assert found["useless"].verdict.outcome is Compared.UNCLEAR
        assert part.analysis.ranked[0].name == "good"
        assert not found["good"].control
        assert found["random"].control
    assert srg.higher_is_better
    assert not deletion.higher_is_better
    assert srg.analysis.alpha == 0.05
    assert srg.analysis.resamples == 999
    assert summarise(planted, alpha=0.01, resamples=99).parts[0].analysis.alpha == 0.01


def test_random_seeds_are_averaged_image_by_image(planted):
    table = score_tables(planted)[0]
    wide = (
        read_records(planted).query("metric == 'srg'").pivot(index="image", columns="method", values="value")
    )
    expected = wide[["random_0", "random_1"]].mean(axis=1).reindex(list(table.images))
    assert np.allclose(table.column("random"), expected)
    assert table.draws.shape == (40, 2)
    assert table.images[:3] == ("0", "1", "2")  # the order of the data


def test_the_rest_of_the_summary(planted):
    summary = summarise(planted)
    part = summary.parts[1]
    assert part.saturated_images == 1
    assert part.saturated == {"good": 2, "useless": 1, "center_prior": 1, "random": 1}
    assert part.ties["random"] == 0.25
    assert {label: one.images for label, one in part.strata.items()} == {"fake": 30, "real": 10}
    assert part.greedy.images == 4
    first = read_records(planted).query("metric == 'deletion' and image in ['0', '1', '2', '3']")
    means = first.groupby("method")["value"].mean()
    assert part.greedy.mean == pytest.approx(means["greedy"])
    assert part.greedy.methods["good"] == pytest.approx(means["good"])
    band = part.curves["random"]
    assert band.low[0] < band.mean[0] < band.high[0]
    curves = read_records(planted).query("metric == 'deletion' and method == 'random_0'")["curve"]
    assert band.mean[0] == pytest.approx(np.mean([curve[0] for curve in curves]))
    assert summary.parts[0].curves == {}
    answers = summary.answers["mean"]
    assert (answers.images, answers.clean, answers.kept) == (40, 3.0, 10)
    assert answers.baseline == pytest.approx(-0.5)
    assert summary.cost["good"].seconds == 0.5
    assert "random" in summary.cost and "random_0" not in summary.cost
    assert summary.agreement["mean"].tau[0][1] == 1  # of the methods alone


def test_what_holds_of_every_row_is_said_once(planted, tmp_path):
    draw = np.random.default_rng(0).normal
    few = [
        record(image, name, "srg", shift + draw()) for image in (7, 8, 9) for name, shift in METHODS.items()
    ]
    (tmp_path / "run.json").write_text((planted / "run.json").read_text())
    Store(tmp_path).write("all", WorkResult(tuple(few)))
    text = to_markdown(summarise(tmp_path))
    verdicts = text[text.index("## Verdicts") : text.index("## Rankings")]
    assert (
        "every method by srg beside random maps: cannot be told from random: 3 images are too few" in verdicts
    )
    assert "|" not in verdicts


def test_a_summary_is_json_and_markdown(planted, tmp_path):
    summary = summarise(planted)
    content = json.loads(json.dumps(summary.as_dict(), allow_nan=False))
    assert content["parts"][0]["analysis"]["methods"][0]["name"] == "good"
    text = to_markdown(summary)
    verdicts, rankings = text.index("## Verdicts"), text.index("## Rankings")
    assert verdicts < rankings < text.index("## Cost") < text.index("## Provenance")
    assert "| good | ▲ better, p<0.001" in text[verdicts:rankings]
    assert "greedy order" in text
    assert "10 of 40" in text
    write_summary(summary, tmp_path / "summary.md")
    assert (tmp_path / "summary.md").read_text() == text


def test_a_real_run_is_summarised(config, tiny, tmp_path, photos):
    protocols = ["vit-token", {"base": "vit-mean", "name": "mean", "steps": 4}]
    parts = {"random_seeds": 2, "sobel": True, "greedy_images": 2}
    metrics = ["srg", "insertion", "gini", "rank_accuracy"]
    run_benchmark(config(protocols=protocols, metrics=metrics, controls=parts), tmp_path, classifier=tiny)
    summary = summarise(tmp_path)
    assert [(part.metric, part.protocol) for part in summary.parts] == [
        ("srg", "vit-token"),
        ("insertion", "vit-token"),
        ("srg", "mean"),
        ("insertion", "mean"),
        ("gini", "maps"),
        ("rank_accuracy", "maps"),
    ]
    assert summary.parts[0].analysis.unit == "group"  # frames of one video
    assert summary.stability["srg"].names == ("vit-token", "mean")
    assert summary.parts[5].analysis.images == 3
    assert any("1 image excluded" in note for note in notes_of(summary.parts[5].analysis))
    json.dumps(summary.as_dict(), allow_nan=False)
    assert "vit-token" in to_markdown(summary)
    assert summary.provenance["end"]
    assert set(summary.provenance["versions"]) >= {"python", "xai", "torch", "numpy"}


def test_images_without_labels_and_groups_are_summarised(config, tiny, tmp_path, photos):
    data = {"images": [str(photos / f"{number}.png") for number in range(3)]}
    controls = {"random_seeds": 0, "sobel": False, "greedy_images": 0}  # and without a reference
    run_benchmark(config(data=data, controls=controls), tmp_path, classifier=tiny)
    summary = summarise(tmp_path)
    assert summary.parts[0].strata == {}
    assert summary.parts[0].analysis.unit == "image"
    assert summary.parts[0].analysis.reference is None
    assert "3 images." in to_markdown(summary)


def test_an_unfinished_run_is_summarised_and_says_so(finished, tmp_path):
    for name in ("run.json", "plan.parquet"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    key = Store(finished).planned_items()[0].key
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / f"{key}.parquet").write_bytes((finished / "parts" / f"{key}.parquet").read_bytes())
    assert "Unfinished: 1 of 3 items" in to_markdown(summarise(tmp_path))
    assert status(tmp_path).done == 1
    assert status(tmp_path).seconds_left > 0
    json.dumps(status(tmp_path).as_dict())


def test_a_run_equals_itself_and_is_told_from_another(planted, finished, tmp_path):
    pairs = compare_runs(planted, planted)
    assert {(pair.method, pair.metric) for pair in pairs} == {
        (m, n) for m in METHODS for n in ("srg", "deletion")
    }
    assert all(pair.comparison.identical and pair.same_method for pair in pairs)
    better = tmp_path / "better"
    rows = [
        Record(**row | {"value": row["value"] + (row["method"] == "good")})
        for row in Store(planted).table().to_pylist()
    ]
    Store(better).write("all", WorkResult(tuple(rows)))
    (better / "run.json").write_bytes((planted / "run.json").read_bytes())
    found = {(pair.method, pair.metric): pair.comparison for pair in compare_runs(better, planted)}
    assert found["good", "srg"].difference == pytest.approx(1)
    assert found["good", "srg"].p < 0.001
    assert found["useless", "srg"].identical
    with pytest.raises(UsageError, match="images .* differ"):
        compare_runs(planted, finished)


def test_runs_under_other_protocols_are_not_compared(config, tiny, finished, tmp_path):
    run_benchmark(config(protocols=[{"base": "vit-mean", "steps": 8}]), tmp_path, classifier=tiny)
    with pytest.raises(UsageError, match="numbers of different protocols are not comparable"):
        compare_runs(finished, tmp_path)


def test_records_survive_the_store(planted):
    one = record(3, "good", "srg", 0.1 + 0.2, curve=(1 / 3, 0.0))
    store = Store(planted)
    store.write("one", WorkResult((one,)))
    import pyarrow.parquet as parquet

    (row,) = parquet.read_table(store.part("one")).to_pylist()
    row["curve"], row["fractions"] = tuple(row["curve"]), tuple(row["fractions"])
    expected = asdict(one)
    assert {k: v for k, v in row.items() if v == v} == {k: v for k, v in expected.items() if v == v}
    store.part("one").unlink()


def test_export(finished, tmp_path):
    import pandas as pd

    frame = read_records(finished)
    assert export(finished, tmp_path / "out.parquet") == len(frame)
    assert export(finished, tmp_path / "out.csv") == len(frame)
    assert pd.read_parquet(tmp_path / "out.parquet")["value"].equals(frame["value"])
    csv = pd.read_csv(tmp_path / "out.csv", dtype={"image": str})
    assert np.allclose(csv["value"], frame["value"])
    deletion = csv[csv["metric"] == "deletion"]
    curves = frame[frame["metric"] == "deletion"]["curve"]
    assert json.loads(deletion["curve"].iloc[0]) == pytest.approx(list(curves.iloc[0]))
    with pytest.raises(UsageError, match=".csv or .parquet"):
        export(finished, tmp_path / "out.xlsx")
    with pytest.raises(UsageError, match="'value'"):
        read_records(finished, ["valu"])
    with pytest.raises(DataError, match="holds no benchmark run"):
        export(tmp_path, tmp_path / "out.csv")


def test_missing_libraries_are_named(finished, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(UsageError, match=r"vit-xai\[bench\]"):
        read_records(finished)
