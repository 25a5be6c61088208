"""How threads of OpenMP wait for each other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xai.core.runtime import _WAITING
from xai.data import shipped_samples

ASKED = """
import os
{first}
from xai.core import sleep_while_waiting
print(sleep_while_waiting(), os.environ.get("OMP_WAIT_POLICY"))
"""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A new Python, whose environment says of waiting what is given."""
    plain = {name: value for name, value in os.environ.items() if name not in _WAITING}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=plain | environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize(
    ("first", "environment", "expected"),
    [
        ("pass", {}, "True passive"),
        ("import torch", {}, "False None"),  # too late
        ("pass", {"OMP_WAIT_POLICY": "active"}, "False active"),
        ("pass", {"GOMP_SPINCOUNT": "5"}, "False None"),
    ],
)
def test_they_are_asked_in_time_and_the_environment_has_the_last_word(
    first: str, environment: dict[str, str], expected: str
) -> None:
    assert run("-c", ASKED.format(first=first), **environment).stdout.strip() == expected


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP")
@pytest.mark.parametrize(("pictures", "sleeping"), [("comparison", True), ("none", False)])
def test_they_sleep_where_pictures_are_drawn_beside(tmp_path: Path, pictures: str, sleeping: bool) -> None:
    image = shipped_samples()[0].path
    options = ["--method", "gradient_weighted_attention", "--pictures", pictures, "--out", str(tmp_path)]
    done = run("-m", "xai", "explain", str(image), *options, OMP_DISPLAY_ENV="verbose")
    assert ("GOMP_SPINCOUNT = '0'" in done.stderr) == sleeping, done.stderr
