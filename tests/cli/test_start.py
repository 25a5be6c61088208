"""How the command starts, in a process of its own."""

import os
import subprocess
import sys
from importlib.metadata import version

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


def test_a_whole_run_says_nothing_but_what_it_should(tmp_path, detector):
    from tiny_detector import write_photos

    (photo,) = write_photos(tmp_path / "in", 1)
    out = tmp_path / "out"
    result = python("-m", "xai", "explain", str(photo), "--config", str(detector), "--out", str(out))
    assert result.returncode == 0, result.stderr
    header, row = result.stdout.splitlines()
    assert header.split() == ["image", "predicted", "probability"]
    assert row.startswith(str(photo))
    said = result.stderr.splitlines()
    assert said[0] == f"1 of 1 images explained. Results: {out}/"
    assert said[1].startswith("Next: ")
    assert len(said) == 2, "no progress bar and no chatter of libraries in a pipe"


def test_usage_errors_of_the_parser_exit_with_2():
    result = python("-m", "xai", "explain", "x.png", "--layer", "1")
    assert result.returncode == 2
    assert "--layers" in result.stderr
    assert result.stdout == ""
