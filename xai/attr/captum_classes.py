"""The classes of Captum that our methods derive from or call, without the rest of Captum.

`import captum` imports all of it, and for its pictures of texts matplotlib.pyplot, which takes longer than
explaining an image. So the two packages around these classes run their `__init__` only when somebody asks for
a name of theirs; to whom that is Captum as ever, with the same classes.
"""

import sys
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any


def _postpone(name: str) -> ModuleType:
    """A package whose modules can be imported, and whose `__init__` runs when a name is first looked up."""
    spec = find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    package, loader, lock, begun = module_from_spec(spec), spec.loader, RLock(), False

    def look_up(attribute: str) -> Any:
        nonlocal begun
        with lock:  # other threads wait until it is whole
            if not begun:
                begun = True
                loader.exec_module(package)
        if attribute in vars(package):
            return vars(package)[attribute]
        raise AttributeError(f"module {name!r} has no attribute {attribute!r}")

    vars(package)["__getattr__"] = look_up
    return package


if "captum" not in sys.modules:
    sys.modules["captum"] = _postpone("captum")
    sys.modules["captum.attr"] = vars(sys.modules["captum"])["attr"] = _postpone("captum.attr")

from captum.attr._core.input_x_gradient import InputXGradient as InputXGradient  # noqa: E402
from captum.attr._core.integrated_gradients import IntegratedGradients as IntegratedGradients  # noqa: E402
from captum.attr._core.saliency import Saliency as Saliency  # noqa: E402
from captum.attr._utils.attribution import Attribution as Attribution  # noqa: E402
from captum.attr._utils.attribution import GradientAttribution as GradientAttribution  # noqa: E402
from captum.log import log_usage as _log_usage  # noqa: E402

log_usage: Any = _log_usage
