"""Methods of the user's own, named as `module:Class`: on the command line, in a file, in Python."""

import json
import sys

import pytest
from tiny_detector import classifier, photo, write_photos

import xai
from xai.attr import METHODS, MethodInfo, PatchAttribution
from xai.core import Sample, UsageError

MODULE = """\
from pathlib import Path

import torch

from xai.attr import MethodInfo, PatchAttribution

Path("imported").touch()


class Ramp(PatchAttribution):
    \"\"\"Column numbers, whatever the model.\"\"\"

    info = MethodInfo(
        name={name!r}, family="control", class_sensitive=False, signed=False, forwards=0, backwards=0,
        reference="a test", summary="Column numbers.",
    )

    def __init__(self, forward_func: torch.nn.Module, power: int = 1):
        super().__init__(forward_func)
        self.power = power

    def _relevance(self, pixels, targets, args):
        grid = self._grid(pixels)
        ramp = torch.arange(1.0, grid.cols + 1) ** self.power
        return ramp.expand(len(targets), len(pixels), grid.rows, grid.cols)


class NoMethod:
    pass
"""


@pytest.fixture
def module(tmp_path):
    """The name of a module in the working folder; what it registers goes again."""
    name = f"ramps_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE.format(name=name))
    yield name
    sys.modules.pop(name, None)
    METHODS._entries.pop(name, None)
    METHODS._import_paths.pop(f"{name}:Ramp", None)


@pytest.fixture
def images(tmp_path, detector):
    write_photos(tmp_path / "in", 1)
    return "in", "--config", detector


def test_explain_takes_a_class_of_the_working_folder(xai_command, images, module):
    run = xai_command("explain", *images, "--method", f"{module}:Ramp", "--json")
    assert run.code == 0, run.stderr
    (explained,) = json.loads(run.stdout)["explanations"]
    assert explained["method"] == {"name": module, "options": {"power": 1}}
    (found,) = {(one["min"], one["max"]) for one in explained["maps"].values()}
    assert found == (1.0, explained["maps"]["fake"]["cols"])


def test_what_it_raises_is_not_called_a_bug_of_xai(tmp_path, xai_command, images, module):
    file = tmp_path / f"{module}.py"
    file.write_text(file.read_text().replace("ramp = torch", "ramp = [][0]  # torch"))
    run = xai_command("explain", *images, "--method", f"{module}:Ramp")
    assert run.code == 1 and "bug in xai" not in run.stderr, run.stderr
    assert "Error: IndexError: list index out of range" in run.stderr and str(file) in run.stderr


def test_compare_and_methods_take_it_too(xai_command, images, module):
    run = xai_command("compare", *images, "--methods", f"{module}:Ramp,uniform", "--json")
    assert run.code == 0, run.stderr
    assert set(json.loads(run.stdout)["images"][0]) == {module, "uniform"}
    run = xai_command("methods", f"{module}:Ramp")
    assert run.code == 0 and "Column numbers." in run.stdout and "power" in run.stdout
    run = xai_command("methods")
    listed = [line.split() for line in run.stdout.splitlines()]
    assert [module, module] in listed  # under "from the package"


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("no_such_module:Ramp", "no_such_module cannot be imported"),
        ("{module}:Other", "has no Other"),
        ("{module}:NoMethod", "is no subclass of xai.attr.PatchAttribution"),
    ],
)
def test_what_is_no_method_is_a_usage_error(xai_command, images, module, method, message):
    for command in (["explain", *images, "--method"], ["compare", *images, "--methods"], ["methods"]):
        run = xai_command(*command, method.format(module=module))
        assert run.code == 2
        assert message in run.stderr and "Traceback" not in run.stderr


def test_a_file_that_names_code_needs_trust(tmp_path, xai_command, images, module):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (tmp_path / f"{module}.py").rename(folder / f"{module}.py")
    (folder / "method.yaml").write_text(f"method: {module}:Ramp\noptions: {{power: 2}}\n")
    command = "explain", *images, "--method-config", folder / "method.yaml", "--json"

    run = xai_command(*command)
    assert run.code == 2
    assert "method.yaml:1" in run.stderr and "--trust-code" in run.stderr
    assert not (tmp_path / "imported").exists()

    run = xai_command(*command, "--trust-code")
    assert run.code == 0, run.stderr
    (explained,) = json.loads(run.stdout)["explanations"]
    assert explained["method"] == {"name": module, "options": {"power": 2}}


def test_python_takes_the_class_itself_or_its_path(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    sample = Sample("x", photo())
    (by_path,) = xai.explain(sample, classifier(), method=f"{module}:Ramp", target="fake")
    (by_class,) = xai.explain(sample, classifier(), method=sys.modules[module].Ramp, target="fake", power=2)
    assert by_path.method == by_class.method == module
    assert ((by_path.maps["fake"] ** 2) == by_class.maps["fake"]).all()


def test_a_class_that_is_no_method_is_refused_by_name():
    class Half(PatchAttribution):
        info = MethodInfo(
            name="half", family="control", class_sensitive=False, signed=False, forwards=0, backwards=0,
            reference="a test", summary="No relevance.",
        )  # fmt: skip

    for found, message in ((Half, "Half does not implement _relevance"), (dict, "dict.*is no method")):
        with pytest.raises(UsageError, match=message):
            xai.explain(Sample("x", photo()), classifier(), method=found)


def test_tune_reads_a_configuration_whose_code_is_trusted(tmp_path, xai_command, detector, module):
    write_photos(tmp_path / "in", 2)
    (tmp_path / "bench.yaml").write_text(
        f"model: {{config: {detector}}}\ndata: {{images: in}}\nmethods: ['{module}:Ramp']\n"
        "protocols: [{base: vit-mean, name: mean, steps: 2}]\nstatistics: {resamples: 99}\n"
    )
    run = xai_command("tune", "bench.yaml", "--folds", 2)
    assert run.code == 2 and "--trust-code" in run.stderr
    run = xai_command("tune", "bench.yaml", "--folds", 2, "--trust-code")
    assert run.code == 0, run.stderr
