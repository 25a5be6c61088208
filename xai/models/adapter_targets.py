"""Whether a PEFT adapter has the tensors of every layer that its `adapter_config.json` says it changes."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from xai.core import ModelError
from xai.models.tensors import some

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class AdapterTargets:
    """What an adapter says that it changes; without names nothing can be missed.

    Args:
        adapted: Names, or ends of names, of the modules with an adapter.
        whole: The same of modules trained whole.
        limited: Whether some modules of these names are left out (`layers_to_transform`, `exclude_modules`).
    """

    adapted: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    limited: bool = False

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "AdapterTargets":
        """From the keys of an `adapter_config.json`; patterns (a single text) are not followed."""
        limited = any(
            content.get(key) not in (None, [], "") for key in ("layers_to_transform", "exclude_modules")
        )
        return cls(_names(content.get("target_modules")), _names(content.get("modules_to_save")), limited)

    def check(self, names: Mapping[str, str], modules: Collection[str], place: str) -> None:
        """Refuse an adapter that lacks what it says it changes: it would be another model than was trained.

        A name that no module has says nothing: lists of names are written for several architectures.

        Args:
            names: Of modules with an adapter, and of tensors trained whole: in the adapter → in its base.
            modules: Names of the base's modules with weights.
            place: Where the adapter lies, for the message.

        Raises:
            ModelError: Naming the modules.
        """
        lacking: set[str] = set()
        found = set(names.values())
        saved = {module for module in modules for name in self.whole if _is_below(module, name)}
        if not any(_is_below(key, name) for key in names for name in self.whole):
            lacking |= saved
        for target in self.adapted:
            same = {new for old, new in names.items() if _ends(old, target) or _ends(new, target)}
            if not same:
                lacking |= set() if self.limited else {one for one in modules if _ends(one, target)} - saved
            elif not self.limited and not _NUMBER.search(target):
                kinds = {_NUMBER.sub("0", one) for one in same}
                lacking |= {one for one in modules if _NUMBER.sub("0", one) in kinds} - found - saved
        if lacking:
            raise ModelError(
                f"{place} lacks tensors of modules that its adapter_config.json names: "
                f"{some(list(lacking))}.",
                "It was saved or copied in part, or the configuration is another adapter's. Fetch it again.",
            )


def _names(value: Any) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str) and one) if isinstance(value, list) else ()


def _ends(module: str, name: str) -> bool:
    return module == name or module.endswith(f".{name}")


def _is_below(module: str, name: str) -> bool:
    """Whether a name is that of a module, or of what lies in it."""
    return f".{name}." in f".{module}."
