"""The example package of the documents: installed by pip, its entries are found by name in a new process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "docs" / "example-package"

PROGRAM = """
import sys
import torch
import xai
from plain_vit import TinyViT
from xai.attr import METHODS, create, list_methods
from xai.metrics import METRICS, evaluate
from xai.perturb import OPERATORS, make_operator

assert METHODS["saliency"].info.name == "saliency" and METHODS._offers is None  # own names ask no package
assert "xai_example" not in sys.modules
model, pixels = TinyViT(), torch.rand(2, 3, 32, 32)
maps = create("value_weighted_attention", model).attribute_patches(pixels)
assert maps.shape == (2, 4, 4) and bool((maps > 0).all())
assert "value_weighted_attention" in [info.name for info in list_methods()]
assert "maximum" in OPERATORS and "hoyer" in METRICS

even, single = torch.ones(1, 4, 4), torch.zeros(1, 4, 4)
single[0, 1, 2] = -3
sparsity = METRICS["hoyer"].function(torch.cat([even, single]))
torch.testing.assert_close(sparsity, torch.tensor([0.0, 1]).double())

protocol = {"base": "vit-mean", "steps": 8, "operator": "maximum"}
found = evaluate(model, ["deletion", "half_deletion"], pixels, maps[None], protocol=protocol)
torch.testing.assert_close(found["half_deletion"].curve[..., :5], found["deletion"].curve[..., :5])
torch.testing.assert_close(found["half_deletion"].curve[..., -1], found["deletion"].curve[..., 4])
white = make_operator("maximum").prepare(model, pixels, [0, 1])
assert bool((white == pixels.amax((1, 2, 3))[:, None, None, None]).all())

model, shuffled = xai.load("demo"), xai.load("shuffled:demo")
large = torch.rand(1, 3, 224, 224)
assert shuffled.labels == model.labels and not torch.allclose(shuffled(large), model(large))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the package is installed, without touching this one."""
    folder = tmp_path_factory.mktemp("site")
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "--quiet"]
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "xai_example.py"):  # building writes beside them
        (source / name).write_bytes((PACKAGE / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        *options,
        "--target",
        str(folder / "site"),
        str(source),
    ]
    subprocess.run(command, check=True, timeout=300)
    path = [str(folder / "site"), str(PACKAGE.parents[1]), str(PACKAGE.parents[1] / "tests")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path)}


def test_its_entries_are_found_by_name(installed: dict[str, str]) -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=300, env=installed)


def test_the_command_line_lists_its_method(installed: dict[str, str]) -> None:
    command = [sys.executable, "-m", "xai", "methods", "value_weighted_attention"]
    done = subprocess.run(command, check=True, timeout=300, env=installed, capture_output=True, text=True)
    assert "length of the values" in done.stdout
