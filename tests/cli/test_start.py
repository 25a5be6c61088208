"""How the command starts, in a process of its own."""

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from xai.cli import options
from xai.core import files

HEAVY = "torch", "transformers", "captum", "matplotlib", "numpy"


def python(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"COLUMNS": "100"} | environment,
        check=False,
    )


def test_help_imports_nothing_heavy():
    code = f"""
import sys
from xai.cli.main import main
sys.argv = ["xai", "--help"]
try:
    main()
except SystemExit as end:
    assert end.code in (0, None), end.code
assert "torch" not in sys.modules
loaded = {{name for name in {HEAVY!r} if name in sys.modules}}
assert not loaded, loaded
"""
    result = python("-c", code)
    assert result.returncode == 0, result.stderr
    for command in ("explain", "compare", "demo", "methods", "models", "doctor"):
        assert command in result.stdout
    assert "Exit codes: 0 ok" in result.stdout


def test_commands_write_where_the_library_does():
    assert options.RESULTS == files.RESULTS


def test_python_dash_m_and_version():
    result = python("-m", "xai", "--version")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"xai {version('vit-xai')} (torch ")


def test_shell_completion():
    result = python(
        "-c",
        "import sys; sys.argv = ['xai']; from xai.cli.main import main; main()",
        _XAI_COMPLETE="complete_bash",
        COMP_WORDS="xai exp",
        COMP_CWORD="1",
    )
    assert result.stdout.split() == ["explain"]


# what takes long to import, and an explanation has no use for
NEEDLESS = (
    "transformers", "tokenizers", "scipy", "pandas", "pyarrow", "vl_convert", "ray", "matplotlib",
    "sympy", "torch._dynamo", "captum.metrics", "captum.attr._core.llm_attr", "jinja2", "rich.markdown",
    "xai.report.page", "xai.report.payload", "xai.stats", "xai.metrics", "xai.bench",
)  # fmt: skip


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """One image explained in a process of its own, which writes down what it has imported by then."""
    from tiny_detector import write_detector, write_photos

    folder = tmp_path_factory.mktemp("run")
    (photo,) = write_photos(folder / "in", 1)
    code = f"""
import pathlib, sys
from xai.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
pathlib.Path({str(folder / "modules")!r}).write_text("\\n".join(sys.modules))

from xai.attr import Saliency, captum_classes  # Captum is whole as soon as somebody asks for it
import captum
assert captum.__version__ and captum.metrics.infidelity and captum.attr._utils.visualization
from captum.attr import Attribution, NoiseTunnel
assert captum.attr.Saliency is captum_classes.Saliency and issubclass(Saliency, Attribution)
assert not hasattr(captum, "attribution") and not hasattr(captum.attr, "Attributions")
"""
    detector = write_detector(folder)
    command = ["explain", str(photo), "--config", str(detector), "--out", str(folder / "out")]
    result = python("-c", code, *command)
    assert result.returncode == 0, result.stderr
    return photo, folder / "out", result, set((folder / "modules").read_text().split())


def test_a_whole_run_says_nothing_but_what_it_should(whole_run):
    photo, out, result, _ = whole_run
    header, row = result.stdout.splitlines()
    assert header.split() == ["image", "predicted", "probability"]
    assert row.startswith(str(photo))
    said = result.stderr.splitlines()
    assert said[0] == f"1 of 1 images explained. Results: {out}/"
    assert said[1].startswith("Next: ")
    assert len(said) == 2, "no progress bar and no chatter of libraries in a pipe"


def test_explaining_an_image_imports_what_it_uses(whole_run):
    *_, modules = whole_run
    assert {"torch", "captum", "xai.explanation"} <= modules
    assert not modules & set(NEEDLESS)


def test_a_runs_page_imports_what_it_uses(tmp_path, finished):
    code = f"""
import pathlib, sys
from xai.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
pathlib.Path({str(tmp_path / "modules")!r}).write_text("\\n".join(sys.modules))
"""
    result = python("-c", code, "report", str(finished), "--out", str(tmp_path / "page.html"))
    assert result.returncode == 0, result.stderr
    modules = set((tmp_path / "modules").read_text().split())
    assert {"pyarrow", "scipy.special", "vl_convert"} <= modules
    needless = {"pandas", "scipy.stats", "scipy.optimize", "matplotlib", "transformers", "ray"}
    assert not modules & needless, sorted(modules & needless)


def test_usage_errors_of_the_parser_exit_with_2():
    result = python("-m", "xai", "explain", "x.png", "--layer", "1")
    assert result.returncode == 2
    assert "--layers" in result.stderr
    assert result.stdout == ""
