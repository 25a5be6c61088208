"""Clicks of people as the truth of a benchmark, from the manifest to the tables."""

import numpy as np
import pytest
from bench_runs import records

from xai.bench import run_benchmark, summarise, to_markdown
from xai.bench.data.manifest_table import TABLE
from xai.bench.data.sources import open_source

# of the four patches in the middle, equal in a Gaussian: one, all, none; and an image nobody clicked on
CLICKS = {"0": "15:12", "1": "1:1 15:12 25:12 15:20 25:20", "2": "1:1", "3": ""}


@pytest.fixture(scope="module")
def run(config, tiny, photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clicks")
    np.save(folder / "points.npy", np.zeros((5, 2)))
    lines = [f"{photos / name}.png,fake,{clicks},points.npy" for name, clicks in CLICKS.items()]
    (folder / "clicked.csv").write_text("\n".join(["path,label,clicks,landmarks", *lines]) + "\n")
    asked = config(data={"manifest": str(folder / "clicked.csv")}, metrics=["srg", "pointing_game_clicks"])
    run_benchmark(asked, folder / "run", classifier=tiny)
    return folder


def test_the_strongest_place_is_held_against_the_clicks(run):
    """A Gaussian in the middle hits clicks in the middle; where nobody clicked nothing is asked."""
    found = records(run / "run").to_dict("records")
    values = {
        one["image"]: one["value"]
        for one in found
        if one["metric"] == "pointing_game_clicks" and one["method"] == "center_prior"
    }
    assert values == {"0": 0.25, "1": 1.0, "2": 0.0}


def test_the_tables_of_localisation_have_them(run):
    text = to_markdown(summarise(run / "run"))
    assert "pointing_game_clicks" in text


def test_a_run_goes_on_from_its_table_until_a_click_or_the_points_change(run, config):
    data = config(data={"manifest": str(run / "clicked.csv")}).data
    source = open_source(data, run / "run")
    before, sample = source.content(0, 4), source.entries(1, 2)[0].make()
    assert (
        len(sample.clicks) == 5 and sample.clicks[1].tolist() == [15, 12] and sample.landmarks.shape == (5, 2)
    )
    assert (run / "run" / TABLE).exists()
    text = (run / "clicked.csv").read_text()
    (run / "clicked.csv").write_text(text.replace("1:1 15:12", "2:1 15:12"))
    changed = open_source(data, run / "run").content(0, 4)
    assert [a != b for a, b in zip(before, changed, strict=True)] == [False, True, False, False]
    np.save(run / "points.npy", np.ones((5, 2)))
    assert all(a != b for a, b in zip(changed, open_source(data, run / "run").content(0, 4), strict=True))
