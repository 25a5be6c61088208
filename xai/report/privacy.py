"""What a page may say of a model and a machine: pages are sent on, folders of this machine are not."""

import re
from collections.abc import Mapping
from typing import Any

_FOLDERS = re.compile(r"^(\w+:)?(?!//)(?:/|[A-Za-z]:[\\/]).*[\\/](?=.)")


def model_facts(described: Mapping[str, Any]) -> dict[str, Any]:
    """What a classifier says of itself, without its labels (a page has them) and without folders."""
    return without_folders({key: value for key, value in described.items() if key != "labels"})


def without_folders(value: Any) -> Any:
    """JSON-ready content with absolute paths reduced to their last part: `local:/a/b` becomes `local:b`."""
    if isinstance(value, Mapping):
        return {key: without_folders(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(inner) for inner in value]
    return _FOLDERS.sub(lambda found: found[1] or "", value) if isinstance(value, str) else value
