"""`xai.benchmark`: the same run as the command's, with its results at hand."""

import re

import pytest

import xai
from xai.bench import read_records
from xai.core import ConfigError, UsageError

CONTENT = {
    "methods": ["saliency"],
    "controls": {"random_seeds": 1, "sobel": False, "greedy_images": 0},
    "protocols": [{"base": "vit-mean", "steps": 3}],
    "metrics": ["srg"],
    "statistics": {"resamples": 99},
}


def test_a_mapping_runs_and_its_results_are_values_a_table_and_a_page(photos, tiny, tmp_path, capsys) -> None:
    seen = []
    content = CONTENT | {"data": {"manifest": photos / "faces.csv", "limit": 2}}
    done = xai.benchmark(content, tmp_path / "run", model=tiny, progress=seen.append, lang="zh")
    assert seen[-1].done == seen[-1].total == done.result.work_items
    (part,) = done.summary().parts
    assert part.metric == "srg" and done.summary() is done.summary()
    frame = done.to_pandas()
    assert set(frame["method"]) >= {"saliency"} and len(frame) == len(read_records(tmp_path / "run"))
    html = done._repr_html_()
    assert html.startswith("<iframe") and "sandbox=" in html and "zh-Hans" in html
    assert done.write_page().read_text("utf-8").count("<html") == 1
    assert xai.report(done, tmp_path / "mine.html").stat().st_size > 10_000
    assert xai.report(str(tmp_path / "run")) == tmp_path / "run" / "report.html"
    with pytest.raises(UsageError, match="Leave out title"):
        xai.report(done, title="Mine")
    capsys.readouterr()
    again = xai.benchmark(content, tmp_path / "run", model=tiny)
    assert again.result.resumed == again.result.work_items
    assert capsys.readouterr().err == "", "nobody watches"
    (part, *_) = (tmp_path / "run" / "parts").iterdir()
    part.unlink()
    xai.benchmark(content, tmp_path / "run", model=tiny, progress=True)
    assert "benchmark:   0%|" in (said := capsys.readouterr().err) and "0/1 [" in said


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"metrics": ["srgg"]}, r"configuration: metrics\.0: unknown metric 'srgg'. .*srg"),
        ({"metric": ["srg"]}, "configuration: unknown key 'metric'. .*metrics"),
        ({"batch_size": True}, "configuration: batch_size: a number is needed; got true"),
    ],
)
def test_a_wrong_mapping_is_answered_as_a_wrong_file_is(wrong, message, photos, tmp_path) -> None:
    content = CONTENT | {"data": {"manifest": str(photos / "faces.csv")}} | wrong
    with pytest.raises(ConfigError) as error:
        xai.benchmark(content, tmp_path / "run")
    assert re.search(message, str(error.value))
    assert not (tmp_path / "run").exists()


def test_every_public_name_is_listed_and_there() -> None:
    assert {name for name in dir(xai) if not name.startswith("_")} == set(xai.__all__) - {"__version__"}
    assert all(getattr(xai, name) for name in xai.__all__)
