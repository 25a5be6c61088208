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
from xai.core import spin_briefly
print(spin_briefly(), os.environ.get("GOMP_SPINCOUNT"))
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
        ("pass", {}, "True 5000"),
        ("import torch", {}, "False None"),  # too late
        ("pass", {"OMP_WAIT_POLICY": "active"}, "False None"),
        ("pass", {"GOMP_SPINCOUNT": "5"}, "False 5"),
    ],
)
def test_they_are_asked_in_time_and_the_environment_has_the_last_word(
    first: str, environment: dict[str, str], expected: str
) -> None:
    assert run("-c", ASKED.format(first=first), **environment).stdout.strip() == expected


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP")
def test_the_command_asks_before_torch_is_imported(tmp_path: Path) -> None:
    image = shipped_samples()[0].path
    options = ["--method", "gradient_weighted_attention", "--pictures", "none", "--out", str(tmp_path)]
    done = run("-m", "xai", "explain", str(image), *options, OMP_DISPLAY_ENV="verbose")
    assert "GOMP_SPINCOUNT = '5000'" in done.stderr
