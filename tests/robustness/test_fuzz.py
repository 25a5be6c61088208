"""A short, seeded part of `make fuzz` and `make kills`: hostile input and kills against the command line."""

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from benchmarks.robustness import mutate, publish, short
from benchmarks.robustness.fuzz import SHARES, plan
from benchmarks.robustness.sandbox import Ending

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("robustness") / "short.json"
    command = [sys.executable, "-m", "benchmarks.robustness.short", str(path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text())


@pytest.mark.parametrize("kind", SHARES)
def test_hostile_input_ends_as_documented(results, kind):
    cases = [one for one in results["cases"] if one["kind"] == kind]
    assert len(cases) == short.EACH
    assert [f"{kind}:{one['index']} {one['fault']} {one['where']}" for one in cases if one["fault"]] == []


@pytest.mark.parametrize("name", [name for name, _ in short.MOMENTS])
def test_the_same_command_goes_on_after_a_kill(results, name):
    found = results["kills"][name]
    assert found["faults"] == []
    assert (found["lost"], found["doubled"], found["hidden_left"]) == (0, 0, 0)
    assert found["codes"] in ([-9], [-15], [143], [130])  # the moment was hit


def test_what_must_not_happen_is_noticed(results):
    said = results["noticed"]
    assert said["none"] == ""
    assert said["marker"] == "code ran: the payload's marker is there"
    assert said["process"].startswith("did what it must not: os.system")
    assert said["outside"].startswith("did what it must not: open for writing, outside its folder")
    assert said["signal"] == "killed by SIGABRT"
    assert said["hang"].startswith("hang")


@pytest.mark.parametrize(
    ("code", "output", "fault"),
    [
        (0, "", ""),
        (2, "Error: no.", ""),
        (3, "", "exit 3 without a word"),
        (1, "Internal error: KeyError: 'a'\n  This is a bug", "Internal error: KeyError: '…'"),
        (5, "x", "exit N: x"),
        (4, "Traceback (most recent call last):\nValueError: 7", "traceback shown: ValueError: N"),
        (-11, "", "killed by SIGSEGV"),
    ],
)
def test_faults_are_told_apart(code, output, fault):
    assert Ending(code, output=output).fault == fault


def test_an_input_that_was_not_made_is_the_fuzzers_fault():
    assert Ending(-11, made=False).fault.startswith("the fuzzer could not make it")


def test_cases_are_the_same_for_the_same_seed():
    tree = {"a": [1, 2, {"b": "c"}], "d": 0.5}
    first, again = ([repr(mutate.changed_tree(Random(n), tree)) for n in range(50)] for _ in range(2))
    assert first == again
    assert len(set(first)) > 40
    assert tree == {"a": [1, 2, {"b": "c"}], "d": 0.5}
    data = bytes(range(200))
    assert [mutate.broken_bytes(Random(n), data) for n in range(50)] == [
        mutate.broken_bytes(Random(n), data) for n in range(50)
    ]


def test_the_plan_holds_every_kind_from_the_beginning():
    cases = plan(10_400)
    assert len(cases) == len(set(cases)) == 10_400
    assert {kind for kind, _ in cases[:200]} == set(SHARES)


def test_the_page_says_what_failed():
    def case(index, code, fault="", where=""):
        common = {"hang": False, "marker": False, "seen": [], "said": "", "seconds": 0.5, "peak_mb": 500.0}
        return {"kind": "boxes", "index": index, "code": code, "fault": fault, "where": where, **common}

    cases = [case(0, 0), case(1, 2), case(2, 1, "Internal error: KeyError: '…'", "xai/data/manifest.py:3")]
    trial = {"kind": "kill:forge", "index": 0, "fault": "", "moments": ["SIGKILL"], "codes": [-9], "lost": 0}
    trial |= {"doubled": 0, "hidden_after": 1, "hidden_left": 0}
    content = {"seed": 0, "machine": "m", "versions": {"torch": "2"}, "fuzz": publish.fuzzed(cases)}
    content |= {"trials": publish.tried([trial]), "failures": publish.failures([*cases, trial])}
    content |= {"mended": [], "states": {"fuzz": {"abc": 3}, "kills": {"def": 1}}}
    text = publish.page(content)
    assert "by digest: fuzz: 3 of abc; kills: 1 of def." in text and "mended" not in text
    assert "3 cases of 1 kinds against the command line, seed 0: 1 failed. 1 signals: 0" in text
    assert "| boxes | 3 | 1 | 1 | 0 | 0 | 1 | 0 | 0 | 0 | 0.5 s | 500 MB |" in text
    assert "| signal | forge | 1 | -9 × 1 | 0 | 0 | 0 | 1 | 0 | 0 |" in text
    assert "| 1 | `Internal error: KeyError: '…'` | xai/data/manifest.py:3 | boxes:2 |" in text


def test_what_failed_before_it_was_mended_is_published_as_such(tmp_path):
    for folder, state, fault in (("first", "abc", "exit 1"), ("again", "def", "")):
        (tmp_path / folder).mkdir()
        lines = [{"seed": 0, "sources": state}, {"kind": "run", "index": 7, "fault": fault}]
        (tmp_path / folder / "fuzz-0.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = publish.gathered([tmp_path / "first", tmp_path / "again"], "fuzz-0.jsonl")
    assert [row["fault"] for row in found.rows.values()] == [""]
    assert publish.failures(found.mended)[0]["such_as"] == ["run:7"]
    assert found.states == {"def": 1}
