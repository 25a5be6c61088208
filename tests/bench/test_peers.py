"""Pages and sums of the comparison with other libraries (benchmarks/peers); nothing is timed here."""

import json
import os
import time

import pytest
from row_process import answer

from benchmarks.measure import in_fresh_process, merged, save_results, spread
from benchmarks.peers import maps, program, report
from benchmarks.peers.pairs import Row, Trial, clocked, compared, run_row


def result(task: str = report.LAST4, ratio: float = 2.0, **changes: object) -> dict:
    def side(forwards: float, megabytes: float) -> dict:
        spread = {"median": forwards, "low": forwards - 0.1, "high": forwards + 0.1}
        return {"seconds": 0.1 * forwards, "forwards": spread, "peak_mb": megabytes}

    return {
        "row": f"{task} | Peer",
        "task": task,
        "peer": "Peer",
        "package": "peer",
        "version": "1.0",
        "note": "",
        "device": "cpu",
        "dtype": "float32",
        "series": "",
        "at": "",
        "pieces": 1,
        "ours": side(1.3, 100),
        "theirs": side(1.3 * ratio, 200),
        "ratio": {"median": ratio, "low": ratio, "high": ratio},
        "agreement": {"spearman": 0.99999, "difference": 2e-6},
        **changes,
    }


@pytest.mark.parametrize("name", [name for name, row in maps.ROWS.items() if row.package in (None, "captum")])
def test_ours_and_the_script_s_or_captum_s_maps_are_the_same(name: str) -> None:
    row = maps.ROWS[name]
    job = {"side": 64, "depth": 6, "batch": 2, "device": "cpu", "dtype": "float32", "quick": True}
    trial = row.make({**job, **row.settings})
    found = trial.agreement(trial.ours(), trial.theirs())
    assert found["difference"] < 1e-4, found


def test_spread_is_the_median_and_the_inner_ninety_percent() -> None:
    assert spread([float(i) for i in range(100, -1, -1)]) == {"median": 50.0, "low": 5.0, "high": 95.0}
    assert spread([3.0]) == {"median": 3.0, "low": 3.0, "high": 3.0}


def test_ratios_are_taken_round_by_round() -> None:
    """A machine that is slower in one round slows all three: the ratios do not move."""
    seconds = {"forward": [1.0, 10.0, 1.0], "ours": [2.0, 20.0, 2.0], "theirs": [6.0, 60.0, 6.0]}
    found = compared(seconds, units=2.0, pieces=4)
    assert found["ours"]["forwards"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    assert found["theirs"]["forwards"]["high"] == 3.0
    assert found["ratio"] == {"median": 3.0, "low": 3.0, "high": 3.0}
    assert found["ours"]["seconds"] == 0.5


def waiting(seconds: float, answer: float) -> float:
    time.sleep(seconds)
    return answer


def fails() -> float:
    raise RuntimeError("needs another model\nsecond line")


def test_both_run_by_turns_and_their_results_are_compared() -> None:
    import torch

    calls: list[str] = []
    trial = Trial(
        ours=lambda: (calls.append("ours"), waiting(0.002, 3.0))[1],
        theirs=lambda: (calls.append("theirs"), waiting(0.008, 4.0))[1],
        forward=lambda: calls.append("forward"),
        agreement=lambda ours, theirs: {"difference": abs(ours - theirs)},
        count=iter([0, 1, 0, 5, 0, 15]).__next__,
    )
    found = clocked(trial, {"pairs": 2, "budget": 60.0}, torch.device("cpu"))
    assert calls == ["forward", "ours", "theirs", "theirs", "ours", "forward", "forward", "ours", "theirs"]
    assert found["agreement"] == {"difference": 1.0}
    assert (found["rounds"], found["images_ours"], found["images_theirs"]) == (2, 5, 15)
    assert 1.5 < found["ratio"]["median"] < 10


def test_a_peer_that_fails_leaves_our_figures() -> None:
    import torch

    trial = Trial(lambda: waiting(0.001, 1.0), fails, lambda: waiting(0.001, 0.0), lambda *_: {})
    found = clocked(trial, {"pairs": 1, "budget": 60.0}, torch.device("cpu"))
    assert found["error_theirs"] == "needs another model"
    assert "ours" in found and "ratio" not in found and "agreement" not in found
    line = report.cells({**result(), "theirs": {}, **found})
    assert line[3] == "–" and "the peer failed: needs another model" in line[-1]


def test_calls_beyond_the_budget_are_not_repeated() -> None:
    import torch

    trial = Trial(*[lambda: waiting(0.01, 1.0)] * 3, agreement=lambda *_: {"difference": 0.0})
    assert clocked(trial, {"pairs": 5, "budget": 0.001}, torch.device("cpu"))["rounds"] == 1


def test_a_row_has_a_process_of_its_own_and_its_end_is_a_row() -> None:
    assert in_fresh_process(answer, {"want": "number"})["process"] != os.getpid()
    assert in_fresh_process(answer, {"want": "death"})["error"] == "killed"
    assert in_fresh_process(answer, {"want": "error"})["error"] == "no such thing"
    assert in_fresh_process(answer, {"want": "number"}, limit=0)["error"].startswith("slower than")


def test_a_peer_that_is_not_installed_is_not_run() -> None:
    row = Row("task", "Peer", "no-such-distribution", lambda _: pytest.fail("made"))
    found = run_row(lambda _: pytest.fail("run"), row, {"quick": True}, limit=1)
    assert found["error_theirs"] == "not installed"
    assert "not installed" in program.told({**found, "row": "task | Peer", "series": "", "at": ""})


def test_rows_measured_again_take_the_place_of_the_earlier_ones() -> None:
    jobs = [{"row": name, "series": "", "at": ""} for name in "abc"]
    earlier = {"header": {"torch": "1"}, "results": [{**jobs[0], "value": 1}, {**jobs[2], "value": 3}]}
    joined = merged(earlier, [{**jobs[2], "value": 4}], {"torch": "1"}, jobs, program.place)
    assert [(one["row"], one["value"]) for one in joined] == [("a", 1), ("c", 4)]
    with pytest.raises(SystemExit, match="measure all rows again"):
        merged(earlier, [], {"torch": "2"}, jobs, program.place)


def test_targets_are_met_or_missed_by_the_figures() -> None:
    assert report.bound("at most", [1.3, 1.404], most=1.4) == "- at most: 1.30, 1.40. **Met.**"
    assert report.bound("at most", [1.3, 1.32, 1.41], most=1.4).endswith("**Missed** in 1 of 3.")
    assert "**Met.**" in report.bound("at least", [3.0], least=3.0)
    assert report.bound("at least", [2.9, 20.0, 30.0], least=3.0).endswith("**Missed** in 1 of 3.")
    assert "not measured" in report.bound("at least", [], least=3.0)
    met = report.attribution_targets([result(), result("rollout", ratio=1.0)])
    assert [line.count("et**") + line.count("Met.**") for line in met] == [1, 1, 1, 1]
    fat = result(ours={**result()["ours"], "peak_mb": 300})
    slow = result("Chefer generic", ratio=0.8)
    missed = report.attribution_targets([fat, slow])
    assert "**missed** beside Peer" in missed[1] and "**missed** beside Peer" in missed[2]
    curves = report.curve_targets(
        [result(report.PAIR, package="quantus"), result(report.SYSTEMS, ratio=30.0)]
    )
    said = [next(w for w in ("Met.**", "Missed** in", "not measured") if w in line) for line in curves]
    assert said == ["Missed** in", "not measured", "Missed** in", "Met.**"]


def test_maps_that_differ_are_named() -> None:
    assert "**met**" in report.same_maps([result()])
    other = result(agreement={"spearman": 0.9, "difference": 0.9})
    assert f"**missed** in {other['row']}" in report.same_maps([result(), other])
    nothing = result(agreement={"spearman": float("nan"), "difference": float("nan")})
    assert "**missed**" in report.same_maps([nothing])
    rounded = result(agreement={"spearman": 0.99, "difference": 0.01})
    assert "**missed**" in report.same_maps([rounded])
    assert "**met**" in report.same_maps([{**rounded, "dtype": "bfloat16"}])


def test_every_loss_is_named() -> None:
    assert report.losses([result()]) == ["- In no measured row."]
    lost = result(ratio=0.5, at="CLIP", ours={**result()["ours"], "peak_mb": 201})
    assert report.losses([lost]) == [
        f"- {report.LAST4} beside Peer (CLIP): the peer takes 0.50 of our time.",
        f"- {report.LAST4} beside Peer (CLIP): 201 MB, the peer 200 MB.",
    ]


def test_a_table_has_as_many_cells_as_columns_in_every_row() -> None:
    failed = result(error_theirs="out of memory", theirs={})
    del failed["ratio"], failed["agreement"]
    never = {key: value for key, value in failed.items() if key != "ours"} | {"error": "killed"}
    counted = result(images_ours=5, images_theirs=15, rounds=1)
    lines = report.pair_table([result(), failed, never, counted], "forward")[1:]
    assert {line.count(" | ") for line in lines if not line.startswith("|---")} == {10}
    assert "Peer (peer 1.0)" in lines[2] and "ρ 1.0000, Δ 2.0e-06" in lines[2]
    assert "5 images through the model, the peer 15; one call each" in lines[5]


def test_a_growth_table_has_as_many_cells_as_columns_in_every_row() -> None:
    failed = result(error_theirs="out of memory", theirs={}, at="2")
    del failed["ratio"], failed["agreement"]
    never = {key: value for key, value in failed.items() if key != "ours"} | {"error": "killed", "at": "3"}
    lines = [line for line in report.growth_tables([result(at="1"), failed, never]) if line.startswith("|")]
    assert {line.count("|") for line in lines} == {13}
    assert "out of memory" in lines[3] and "killed" in lines[4]


def test_growth_is_by_the_first_value_and_of_whole_calls() -> None:
    first = result(series="Images", at="1")
    then = result(series="Images", at="4", pieces=4)  # the same seconds per image
    then["ours"] = {**then["ours"], "peak_mb": 250}
    lines = report.growth_tables([first, then])
    cells = [cell.strip() for cell in lines[-1].strip("|").split("|")]
    assert cells[1:8] == ["4", "1.30 (1.20–1.40)", "2.00", "0.52", "4.0 ×", "250", "2.5 ×"]


def test_results_are_kept_with_more_digits_than_a_page_shows(tmp_path):
    row = {"row": "a", "seconds": (0.12345678901, 2e-12), "rounds": 3, "note": None}
    save_results(tmp_path / "a.json", {"threads": 2}, [row])
    kept = row | {"seconds": [0.12345679, 2e-12]}
    assert json.loads((tmp_path / "a.json").read_text()) == {"header": {"threads": 2}, "results": [kept]}
