from xai.bench.runner import run_benchmark
from xai.bench.store import read_records


def test_a_run_has_one_record_per_image_method_and_metric(config, tiny, tmp_path):
    result = run_benchmark(config(), tmp_path / "run", classifier=tiny)
    frame = read_records(tmp_path / "run")
    assert result.records == len(frame) == 5 * (2 + 2 + 2) * 2
    assert not frame.duplicated(["image", "method", "metric", "protocol"]).any()
    assert set(frame["method"][frame["control"]]) == {
        "random_0",
        "random_1",
        "center_prior",
        "raw_last_layer",
    }
    assert frame["value"].notna().all()
