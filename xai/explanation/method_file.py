"""A method with its options in a YAML file, as `xai tune` writes it."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from xai.attr import METHODS
from xai.core import ConfigError, nearest


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
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"There is no method file {path}.", "xai tune writes one.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {error}.") from None
    try:
        found = MethodFile.model_validate(content)
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: {said}.", "Keys: method, options, tuned.") from None
    if found.method not in METHODS:
        raise ConfigError(f"{path}: unknown method {found.method!r}.", nearest(found.method, METHODS))
    return found
