"""What a user sees, without the shape checks that the suite switches on."""

import subprocess
import sys


def test_a_function_instead_of_a_module_is_told() -> None:
    code = "from xai.attr import create; create('random', lambda x: x)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "explains a torch.nn.Module; got function" in result.stderr
    assert "xai.load" in result.stderr
