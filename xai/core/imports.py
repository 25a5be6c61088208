"""Code of the user's own, named as `package.module:Class`."""

import sys
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from xai.core.errors import UsageError


def is_import_path(name: str) -> bool:
    """Whether a name means code to import, `package.module:Class`, rather than something registered."""
    module, colon, attribute = name.partition(":")
    return bool(colon) and all(part.isidentifier() for part in [*module.split("."), *attribute.split(".")])


def import_object(path: str, folder: Path | None = None) -> Any:
    """Import what `package.module:Class` names; this runs the module's code.

    Args:
        path: Module and attribute; the attribute may have dots of its own.
        folder: Searched before the installed packages, and only while this import lasts.

    Raises:
        UsageError: The module cannot be imported, lacks the attribute, or has the name of another module
            that is in use already.
    """
    module, _, attribute = path.partition(":")
    if folder is not None:
        folder = folder.resolve()
        _refuse_namesake(module.partition(".")[0], folder)
        sys.path.insert(0, str(folder))
    try:
        found: Any = import_module(module)
    except ImportError as error:
        where = "" if folder is None else f", or put the module into {folder}"
        raise UsageError(f"{module} cannot be imported: {error}.", f"Install its package{where}.") from error
    except (Exception, SystemExit) as error:  # of code that is not ours
        raise UsageError(f"{module} cannot be imported: {type(error).__name__}: {error}.") from error
    finally:
        if folder is not None and str(folder) in sys.path:
            sys.path.remove(str(folder))
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError:
        raise UsageError(f"{module} has no {attribute}.", "Name a class of that module.") from None
    return found


def _refuse_namesake(package: str, folder: Path) -> None:
    """Python keeps one module per name: a second file of that name would be passed over in silence."""
    beside = PathFinder.find_spec(package, [str(folder)])
    loaded = getattr(sys.modules.get(package), "__spec__", None)
    if beside is not None and loaded is not None and loaded.origin != beside.origin:
        raise UsageError(
            f"Another module named {package} is in use already ({loaded.origin}).",
            f"Rename {beside.origin}.",
        )
