"""Presets chosen on other heads: who is chosen, what that loses, and blocks in balanced turns."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks import many_heads_tables
from benchmarks.many_heads_plan import HEADS, SIZES, TOWERS, block_of, blocks, head_of
from benchmarks.many_heads_tables import (
    Purpose,
    Scores,
    blocks_of,
    choose,
    decidable,
    gather,
    leave_one_out,
    precision,
    read_records,
    scores_of,
    shortfall,
    write_records,
)

SRG, DELETION = ("srg", "token-4"), ("deletion", "token-4")
PURPOSE = Purpose("faithful", "good", ("good", "fair", "odd"), (SRG, DELETION))
MEANS = {"good": 4.0, "fair": 3.0, "odd": 0.0, "random": 0.0}
"""Of SRG on every head but `c`, on which `odd` has 6."""


@pytest.fixture(autouse=True, scope="module")
def few_resamples():
    """Intervals are not what is tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(many_heads_tables, "RESAMPLES", 99)
        yield


def frame(tower: int, heads: str = "abc") -> pd.DataFrame:
    """Scores of two images of each of 12 sources; deletion is minus SRG."""
    rng, rows = np.random.default_rng(tower), []
    for head in heads:
        for number in range(24):
            shared = rng.normal()
            for method, mean in MEANS.items():
                value = shared + (6.0 if (method, head) == ("odd", "c") else mean) + rng.normal(0, 0.1)
                base = {"head": head, "group": f"{number // 2}", "image": f"{number}", "method": method}
                base |= {"source": f"{head}/{number // 2}", "control": method == "random"}
                rows += [
                    base | {"metric": metric, "protocol": "token-4", "value": sign * value}
                    for metric, sign in (("srg", 1), ("deletion", -1))
                ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def towers():
    return {"one": Scores(frame(1)), "two": Scores(frame(2, "ab"))}


def test_shortfall_is_the_share_of_the_lead_over_random_that_is_missed(towers):
    found = shortfall(towers, PURPOSE)
    expected = {"good": 0.0, "fair": 0.25, "odd": 1.0}
    assert found.loc[("one", "a")].to_dict() == pytest.approx(expected, abs=0.05)
    assert found.loc[("one", "c")].to_dict() == pytest.approx(
        {"good": 1 / 3, "fair": 0.5, "odd": 0}, abs=0.05
    )
    assert choose(found) == "good"


def test_a_head_takes_no_part_in_the_choice_that_it_is_asked_about(towers):
    """`odd` is chosen where `c` alone chooses, and never for `c`."""
    alone = {"one": Scores(frame(1, "ca")), "two": Scores(frame(3, "c"))}
    left = {(one.tower, one.head, one.others): one for one in leave_one_out(alone, PURPOSE)}
    assert left["one", "a", "other heads"].chosen == left["one", "a", "other tower"].chosen == "odd"
    lost = left["one", "a", "other heads"]
    assert set(lost.beaten) == {"good", "fair"} and lost.beaten["good"] == [SRG, DELETION]
    assert (lost.best, lost.sources, lost.images) == ("good", 12, 24)
    assert lost.loss.difference == pytest.approx(4, abs=0.1)
    one = next(one for one in leave_one_out(towers, PURPOSE) if (one.tower, one.head) == ("one", "c"))
    assert (one.chosen, one.best, set(one.beaten)) == ("good", "odd", {"odd"})


def test_rows_are_compared_in_the_direction_of_the_metric(towers):
    found = towers["one"].against("good", ["fair", "random"], [SRG, DELETION], "a")
    assert {one.verdict.outcome.value for one in found.values()} == {"worse"}
    assert all(one.verdict.adjusted_over == 4 and one.verdict.blocks == 12 for one in found.values())
    assert towers["one"].controls == {"random"}
    assert towers["one"].means(SRG, "good", "fair").mean[0] == pytest.approx(1, abs=0.1)


def test_few_sources_cannot_tell_and_that_is_said(towers):
    found = towers["one"].against("good", ["fair", "odd"], [SRG, DELETION], "a")
    assert decidable(found)  # 12 sources: p is 0.0005 at least
    few = Scores(towers["one"].frame[towers["one"].frame["group"].astype(int) < 6])
    assert not decidable(few.against("good", ["fair", "odd"], [SRG, DELETION], "a"))


def test_rows_that_were_measured_on_fewer_images_are_compared_on_these(towers):
    part = frame(1)
    part = part[(part["method"] != "fair") | (part["image"].astype(int) < 6)]
    scores = Scores(part)
    assert scores.compare(SRG, "good", "fair", "a").images == 6
    assert scores.means(SRG, "fair").images == 18
    assert scores.rows[-1] == "fair"


def test_precision_pairs_equal_rows_and_images():
    exact = frame(1, "a")
    lower = Scores(exact.assign(value=exact["value"] + 0.25))
    found = precision(lower, Scores(exact[exact["image"] == "3"]))[SRG]
    assert (found["pairs"], found["bias"], found["largest"]) == (4, pytest.approx(0.25), pytest.approx(0.25))


def write_block(out, head, number, tower="one", run="leading"):
    """Finish a block; returns its records."""
    folder = out / tower / head / run / f"{number:02}"
    folder.mkdir(parents=True)
    kept = frame(number, head).drop(columns=["head", "source"]).replace("random", "random_0")
    kept["image"] += f"-{number}"
    kept.to_parquet(folder / "records.parquet")
    return kept


def test_finished_blocks_are_read_and_random_maps_are_one_row(tmp_path):
    assert scores_of(gather(tmp_path, read_records(None)), "one", ["leading"]) is None
    for head in "ab":
        write_block(tmp_path, head, 0)
    found = scores_of(gather(tmp_path, read_records(None)), "one", ["leading", "suite"])
    assert found.heads == ["a", "b"] and found.controls == {"random"}
    assert found.frame["source"].nunique() == 24


def test_a_run_goes_on_from_published_records(tmp_path):
    first, second, published = tmp_path / "first", tmp_path / "second", tmp_path / "published"
    write_block(first, "a", 0)
    write_records(gather(first, read_records(published)), published)
    assert blocks_of(read_records(published)) == {("one", "a", "leading", 0)}
    other = write_block(second, "a", 0)  # done again elsewhere: what is published counts
    (second / "one/a/leading/00/records.parquet").unlink()
    other.assign(value=9.0).to_parquet(second / "one/a/leading/00/records.parquet")
    write_block(second, "b", 1)
    both = gather(second, read_records(published))
    assert blocks_of(both) == {("one", "a", "leading", 0), ("one", "b", "leading", 1)}
    assert not (both["value"] == 9.0).any()
    write_records(both, published)
    again = read_records(published)
    assert again["value"].dtype == "float32" and len(again) == len(both)
    scores = scores_of(again, "one", ["leading"])
    exact = scores_of(both, "one", ["leading"])
    assert scores.means(SRG, "good").mean == pytest.approx(exact.means(SRG, "good").mean, rel=1e-6)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_blocks_take_turns_and_come_to_what_is_asked_for(size):
    order = list(blocks(TOWERS, size))
    assert len(set(order)) == len(order)
    for place, one in enumerate(order[: len(HEADS)]):
        assert (one.run, one.number, one.head) == (order[0].run, 0, list(HEADS)[place])
    for tower in TOWERS:
        for head in HEADS:
            done = [one for one in order if (one.run.tower, one.head) == (tower, head)]
            for run in {one.run.name for one in done}:
                of_run = [one for one in done if one.run.name == run]
                assert [one.number for one in of_run] == list(range(len(of_run)))
                assert sum(one.images for one in of_run) >= size.images[run]
                if size.images[run] >= block_of(tower, head):
                    assert all(one.images % len(head_of(tower, head).kinds) == 0 for one in of_run)


def test_towers_may_be_left_out():
    some = replace(SIZES["quick"], steps=1)
    assert {one.run.tower for one in blocks(["dinov2-small"], some)} == {"dinov2-small"}
