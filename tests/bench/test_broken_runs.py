"""Run folders that were edited, cut or mixed: refused by name, or made again."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from safetensors.numpy import load_file, save_file

from xai.bench import export, page_of_run, read_records, run_benchmark, status, summarise
from xai.bench.data.files import read_json
from xai.bench.data.shard_source import INDEX, _known
from xai.bench.run.image_snapshots import read_snapshots, snapshots_are_whole, snapshots_path
from xai.core import DataError


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def edited(run, change):
    path = run / "run.json"
    about = json.loads(path.read_text("utf-8"))
    change(about)
    path.write_text(json.dumps(about), "utf-8")


def part_of(run):
    """The part with the most records."""
    return max((run / "parts").iterdir(), key=lambda path: parquet.read_metadata(path).num_rows)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda about: about.pop("plan"), "plan: field required"),
        (lambda about: about["plan"].update(images="40"), "plan.images: input should be a valid integer"),
        (
            lambda about: about["plan"].update(units=[{"key": 1, "protocol": "a"}]),
            r"plan\.units\[0\]\.key: input should be a valid string",
        ),
        (lambda about: about.update(sessions=[]), "sessions: list should have at least 1 item"),
        (lambda about: about.update(name=None), "name: input should be a valid string"),
        (lambda about: about["config"].pop("statistics"), "config.statistics: field required"),
        (lambda about: about["config"]["statistics"].update(alpha=7), "config.statistics.alpha"),
        (lambda about: about["config"]["statistics"].pop("alpha"), "config: statistics lacks alpha"),
        (lambda about: about["sessions"][-1]["model"].update(labels="fake"), r"sessions\[0\].model.labels"),
        (lambda about: about["sessions"][-1]["model"]["grid"].update(rows=0), r"model.grid.rows"),
        (lambda about: about["sessions"][-1]["model"].update(problem_type="x"), "problem_type is one of"),
        (lambda about: about["protocols"][0].pop("operator"), r"protocols\[0\].operator: field required"),
        (
            lambda about: about["protocols"][0].update(sign="up"),
            r"protocols\[0\].sign: expected one of signed",
        ),
        (
            lambda about: about["protocols"][0].update(operator={"name": "constant", "value": 1}),
            "a constant needs its value and its space",
        ),
        (lambda about: about["methods"].append(about["methods"][0]), "methods: two have the same name"),
        (lambda about: about["methods"][0].update(options=[1]), r"methods\[0\].options"),
        (lambda about: about.update(identity=3), "identity"),
        (lambda about: about["config"].update(seed=10**301), "a number that is too large"),
        (lambda about: about["identity"].update(x="\ud800"), "text that is no Unicode"),
    ],
)
def test_what_is_wrong_in_run_json_is_said_once_for_all_readers(run, change, said):
    edited(run, change)
    for reader in (summarise, status, page_of_run):
        with pytest.raises(DataError, match=said) as caught:
            reader(run)
        assert str(run / "run.json") in str(caught.value)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 150 + "1" + "}" * 150, "[]", "", "{"])
def test_deep_or_cut_json_is_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=r"x\.json"):
        read_json(tmp_path / "x.json")


def test_a_broken_run_file_is_not_overwritten_by_going_on(config, tiny, finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "run.json").write_text('{"identity": 5}')
    with pytest.raises(DataError, match=r"run\.json is broken.*\n.*Restore it from a copy"):
        run_benchmark(config(), run, classifier=tiny)
    assert (run / "run.json").read_text() == '{"identity": 5}'


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.slice(1), "it lists"),
        (lambda table: pa.concat_tables([table, table]), "it lists"),
        (lambda table: table.drop_columns(["shard"]), "no columns 'shard'"),
        (
            lambda table: table.set_column(0, "key", pa.nulls(len(table), pa.string())),
            "'key' has cells without a value",
        ),
    ],
)
def test_a_plan_that_is_not_the_runs_is_refused(run, change, said):
    path = run / "plan.parquet"
    parquet.write_table(change(parquet.read_table(path)), path)
    with pytest.raises(DataError, match=said) as caught:
        status(run)
    assert str(path) in str(caught.value)


def column(name, values):
    def change(table):
        return table.set_column(table.column_names.index(name), name, values(table))

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.drop_columns(["group"]), "no columns 'group'"),
        (column("value", lambda table: pa.array(["1"] * len(table))), "'value' holds string, not double"),
        (column("method", lambda table: pa.array(range(len(table)))), "'method' holds int64, not string"),
        (column("control", lambda table: pa.nulls(len(table), pa.bool_())), "'control' has cells without"),
        (
            column("curve", lambda table: pa.nulls(len(table), pa.list_(pa.float64()))),
            "'curve' has cells without",
        ),
        (
            column("curve", lambda table: pa.array([[None]] * len(table), pa.list_(pa.float64()))),
            "'curve' has cells without",
        ),
        (
            column("curve", lambda table: pa.array([[0.5]] * len(table), pa.list_(pa.float64()))),
            "another number of points",
        ),
        (column("metric", lambda table: pa.array(["srgg"] * len(table))), "'srgg' is no metric"),
    ],
)
def test_a_part_with_other_columns_is_refused_by_name(run, tmp_path, change, said):
    path = part_of(run)
    parquet.write_table(change(parquet.read_table(path)), path)
    for reader in (summarise, page_of_run, lambda run: export(run, tmp_path / "x.parquet")):
        with pytest.raises(DataError, match=said) as caught:
            reader(run)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "notes",
    [None, {}, {"exclusions": 1, "forwards": 0, "seconds": 0.0}]
    + [{"exclusions": [], "forwards": 0, "seconds": one} for one in ("1", -1.0, float("nan"))]
    + [{"exclusions": [{"image": "a"}], "forwards": 0, "seconds": 0.0}]
    + [{"exclusions": [], "forwards": 0, "seconds": 0.0, "masks": {"": [1]}}],
)
def test_notes_of_a_part_are_checked(run, notes):
    path = part_of(run)
    table = parquet.read_table(path)
    parquet.write_table(table.replace_schema_metadata(notes and {"xai": json.dumps(notes)}), path)
    for reader in (summarise, status):
        with pytest.raises(DataError, match="is broken") as caught:
            reader(run)
        assert str(path) in str(caught.value)


def test_records_that_are_there_twice_are_refused(run):
    path = part_of(run)
    table = parquet.read_table(path)
    parquet.write_table(pa.concat_tables([table, table.slice(0, 1)]), path)
    with pytest.raises(DataError, match="has two scores of"):
        read_records(run)


def test_curves_of_different_lengths_are_refused(run):
    path = next(
        one for one in (run / "parts").iterdir() if "deletion" in str(parquet.read_table(one)["metric"])
    )
    records = parquet.read_table(path)
    rows = records.to_pylist()
    one = next(row for row in rows if row["metric"] == "deletion")
    one |= {"curve": one["curve"][1:], "fractions": one["fractions"][1:]}
    parquet.write_table(pa.Table.from_pylist(rows, schema=records.schema), path)
    with pytest.raises(DataError, match="the curves of deletion .* differ in their number of points"):
        summarise(run)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("width", 0),
        ("fills", "[" * 9),
        ("fills", '{"mean": "url(x)"}'),
        ("seen", [0.0, 0.0, 0.0]),
        ("view", [5.0, 0.0, 5.0, 9.0]),
        ("logits", None),
        ("input_size", [224]),
        ("logits", [float("nan"), 1.0]),
    ],
)
def test_views_with_odd_cells_are_as_if_they_were_not_there(run, name, value):
    path = snapshots_path(run, 0)
    table = parquet.read_table(path)
    rows = [one | {name: value} for one in table.to_pylist()]
    assert read_snapshots(path)
    parquet.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    assert read_snapshots(path) is None
    assert not snapshots_are_whole(path)
    assert page_of_run(run).images[0].picture is None


def test_views_of_another_model_are_refused(run):
    path = snapshots_path(run, 0)
    table = parquet.read_table(path)
    rows = [one | {"logits": [0.1, 0.2, 0.7]} for one in table.to_pylist()]
    parquet.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    with pytest.raises(DataError, match="another number of classes than 2"):
        page_of_run(run)


@pytest.mark.parametrize("change", [lambda name, v: ("x", v), lambda name, v: (name, v[0])])
def test_maps_with_odd_tensors_are_not_shown(run, change):
    for path in (run / "maps").iterdir():
        save_file(dict(change(*one) for one in load_file(path).items()), path)
    assert [one.maps for one in page_of_run(run).images] == [{}] * len(page_of_run(run).images)


def test_maps_with_odd_notes_are_made_again(config, tiny, finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    path = sorted((run / "maps").iterdir())[0]
    content = path.read_bytes()
    key = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]["key"]
    before = load_file(path)
    save_file(before, path, {"key": key, "cost": "[", "failures": "7"})
    for part in (run / "parts").iterdir():
        part.unlink()
    run_benchmark(config(), run, classifier=tiny)
    assert all(np.array_equal(load_file(path)[name], values) for name, values in before.items())
    assert read_records(run)["value"].equals(read_records(finished)["value"])


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", '{"a": 1}', '{"a": {"stamp": "1", "samples": -1}}'])
def test_a_broken_index_of_shards_is_made_again(tmp_path, text):
    (tmp_path / INDEX).write_text(text)
    assert _known(tmp_path) == {}
