"""A method with its options in a YAML file, as `xai tune` writes it."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from xai.attr import METHODS
from xai.core import ConfigError, nearest
from xai.core.yaml_models import read_model


class MethodFile(BaseModel):
    """What the file may say.

    Args:
        method: Registry name.
        options: The method's own.
        tuned: How the options were found; for the reader.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    options: dict[str, Any] = {}
    tuned: dict[str, Any] | None = None


def read_method_file(path: str | Path) -> MethodFile:
    """Read and check a method's YAML.

    Raises:
        ConfigError: The file is missing or no such YAML, or names an unknown method.
    """
    found, file = read_model(path, MethodFile, "method file", "xai tune writes one: method, options, tuned.")
    if found.method not in METHODS:
        raise ConfigError(
            f"{path}:{file.line(('method',))}: unknown method {found.method!r}.",
            nearest(found.method, METHODS),
        )
    return found
