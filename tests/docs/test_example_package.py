"""The example package of the documents: installed by pip, its entries are found by name in a new process."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PACKAGE = Path(__file__).resolve().parents[2] / "docs" / "example-package"

BENCHMARK = """\
name: example
model: demo
data:
  forgeries: {photos: shipped, count: 4, kinds: [noise], pristine: false}
methods: [value_weighted_attention, uniform]
metrics: [half_deletion, hoyer]
protocols: [{base: vit-mean, name: white, steps: 4, operator: maximum}]
controls: {greedy_images: 0}
statistics: {resamples: 99}
"""

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

ONE_METHOD, ALL_METHODS = "methods value_weighted_attention", "methods"
EXPLAIN = "explain photo.png --json --method value_weighted_attention"
SHUFFLED = f"{EXPLAIN} --model shuffled:demo"
RUN, EXPORT = "benchmark run benchmark.yaml --out run", "benchmark export run --out records.csv"
LINES = (ONE_METHOD, ALL_METHODS, EXPLAIN, SHUFFLED, RUN, EXPORT)

COMMANDS = """
import json, sys
from typer.testing import CliRunner
from xai.cli.main import app

done = [CliRunner().invoke(app, line.split()) for line in sys.argv[1:]]
assert all(one.exit_code == 0 for one in done), [one.output for one in done]
print(json.dumps([one.stdout for one in done]))
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


@pytest.fixture(scope="module")
def ran(installed: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The working folder of the commands, and what each printed."""
    folder = tmp_path_factory.mktemp("commands")
    photo = Image.fromarray(np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3))
    photo.save(folder / "photo.png")
    (folder / "benchmark.yaml").write_text(BENCHMARK)
    command = [sys.executable, "-c", COMMANDS, *LINES]
    done = subprocess.run(command, timeout=300, env=installed, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder, dict(zip(LINES, json.loads(done.stdout), strict=True))


def test_the_command_line_lists_its_method(ran: tuple[Path, dict[str, str]]) -> None:
    _, said = ran
    assert "length of the values" in said[ONE_METHOD]
    listed = [line.split() for line in said[ALL_METHODS].splitlines()]
    assert ["value_weighted_attention", "xai-example"] in listed


def test_the_command_line_explains_with_its_method_and_its_model(ran: tuple[Path, dict[str, str]]) -> None:
    _, said = ran
    (shipped,) = json.loads(said[EXPLAIN])["explanations"]
    assert shipped["method"]["name"] == "value_weighted_attention"
    assert shipped["maps"]["fake"]["min"] > 0

    (shuffled,) = json.loads(said[SHUFFLED])["explanations"]
    assert shuffled["model"]["fingerprint"] != shipped["model"]["fingerprint"]
    assert shuffled["maps"]["fake"]["max"] != shipped["maps"]["fake"]["max"]


def test_a_benchmark_takes_its_metrics_and_its_operator(ran: tuple[Path, dict[str, str]]) -> None:
    folder, _ = ran
    with (folder / "records.csv").open() as file:
        records = list(csv.DictReader(file))
    assert {"half_deletion", "hoyer"} <= {one["metric"] for one in records}
    assert "value_weighted_attention" in {one["method"] for one in records}
