"""PEFT adapters saved apart from their base: read from a folder or the hub, folded into the base's model."""

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from xai.core import ModelError
from xai.models.adapter_settings import AdapterSettings, read_settings
from xai.models.adapter_targets import AdapterTargets
from xai.models.adapters import (
    Folded,
    canonical,
    fold_adapters,
    module_of,
    without_prefix,
)
from xai.models.checkpoint import State, open_checkpoint
from xai.models.folder import ADAPTER, AdapterAloneError, hub_file, read_json
from xai.models.pretrained import Tune, from_hub, quiet_transformers
from xai.models.tensors import floating_types, in_one_type, some

_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


@dataclass(frozen=True)
class Adapter:
    """An adapter without its base.

    Args:
        place: Where it lies.
        settings: What its weights do not say.
        state: Its tensors and the modules trained whole, by the names of the base it was trained on.
        base: Folder or hub name of the base; "" where `adapter_config.json` does not say it.
        base_class: Class of the base's model, "" where it is not said.
        targets: What it says that it changes.
    """

    place: str
    settings: AdapterSettings
    state: State = field(repr=False)
    base: str = ""
    base_class: str = ""
    targets: AdapterTargets = field(default_factory=AdapterTargets)

    @property
    def tuned(self) -> dict[str, str]:
        """Each key of an adapter → the module it is on; of a module trained whole → itself."""
        return {key: module_of(key) or key for key in self.state}

    def folding_into(self, description: dict[str, object]) -> Tune:
        """What gives a model of the base the adapter's answers, and enters in a description what it did.

        Raises:
            ModelError: When it is called; the adapter is not one of this model.
        """

        def tune(module: nn.Module, info: Mapping[str, Any]) -> Mapping[str, Any]:
            folded, given = self._fold_into(module)
            description.update({"adapter": self.place, "base": self.base, "folded": folded.kinds})
            description.update(folded.notes)
            return {
                kind: [one for one in keys if (one[0] if isinstance(one, tuple) else one) not in given]
                for kind, keys in info.items()
                if kind.endswith("_keys")
            }

        return tune

    def _fold_into(self, module: nn.Module) -> tuple[Folded, State]:
        """Fold into a model with the base's weights, in place; and the tensors under its names."""
        given = self.renamed(module)
        both: State = {**module.state_dict(), **given}
        types = floating_types(both.values())
        if len(types) > 1:
            warnings.warn(
                f"{self.place} and its base have weights of different types ({', '.join(types)}); all are "
                "brought to one that holds them.",
                stacklevel=4,
            )
        both = in_one_type(both)
        folded = fold_adapters(both, self.settings, module)
        dtype = next(value.dtype for value in both.values() if value.is_floating_point())
        own = module.to(dtype).state_dict()
        wrong = [
            f"{key} {tuple(value.shape)}"
            for key, value in folded.state.items()
            if key not in own or own[key].shape != value.shape
        ]
        if wrong:
            raise self._misfit(module, f"holds weights that {{}} has not: {some(wrong)}")
        module.load_state_dict(folded.state)
        return folded, given

    def _misfit(self, module: nn.Module, what: str) -> ModelError:
        return ModelError(
            f"{self.place} {what.format(f'{type(module).__name__} of {self.base}')}.",
            "Set base_model_name_or_path in its adapter_config.json to the model it was trained on.",
        )

    def renamed(self, module: nn.Module) -> State:
        """The tensors under the names that this model has for what they are on.

        Raises:
            ModelError: When it has no such modules, or the adapter lacks some that it names.
        """
        own = set(module.state_dict())
        names = self._named(own)
        if names is None and hasattr(type(module), "from_pretrained"):
            names = self._translated(module)
        if names is None:
            lacking = some(sorted({*self.tuned.values()} - own - _modules(own)))
            raise self._misfit(module, f"adapts modules that {{}} has not: {lacking}")
        self.targets.check(names, _modules(own), self.place)
        return self._under(names)

    def on_weights(self, state: State) -> tuple[State, AdapterSettings]:
        """The weights of a detector with the adapter's beside them, by the names of these weights.

        Raises:
            ModelError: When they have no such modules, or the adapter lacks some that it names.
        """
        plain = canonical(without_prefix(state))
        names = self._named(set(plain))
        if names is None:
            lacking = some(sorted(set(self.tuned.values())))
            raise ModelError(
                f"{self.place} adapts modules that the weights have not, or have several times: {lacking}.",
                f"They have {some(list(plain))}. Give the weights that it was trained on.",
            )
        self.targets.check(names, _modules(plain), self.place)
        return in_one_type({**plain, **self._under(names)}), self.settings

    def _named(self, keys: set[str]) -> dict[str, str] | None:
        return placed(set(self.tuned.values()), keys | _modules(keys))

    def _under(self, names: Mapping[str, str]) -> State:
        places = self.tuned
        return {
            names[places[key]] + key.removeprefix(places[key]): value for key, value in self.state.items()
        }

    def _translated(self, module: Any) -> dict[str, str] | None:
        """The names by which transformers loads those of its older versions, None where it knows none.

        Each name is given a tensor of a shape of its own and no weight's; the report of what did not fit says
        where it would have gone.
        """
        places = sorted(set(self.tuned.values()))
        keys = [place if place in self.state else f"{place}.weight" for place in places]
        probes = {key: torch.zeros(1, 1, 1, 1, 1, number + 1) for number, key in enumerate(keys)}
        try:
            _, info = from_hub(
                type(module).from_pretrained,
                None,
                config=module.config,
                state_dict=probes,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
        except ModelError:
            return None
        landed = {shape[-1] - 1: name for name, shape, _ in info["mismatched_keys"]}
        if landed.keys() != set(range(len(places))):
            return None
        return {
            place: landed[number].removesuffix("" if place in self.state else ".weight")
            for number, place in enumerate(places)
        }

    def count_classes(self, model_class: Any, config: Any) -> int:
        """How many classes the model has: of its head that was trained whole, else of the base.

        Args:
            model_class: With a `from_config`.
            config: Of the base.
        """
        with quiet_transformers(), torch.device("meta"):
            model: nn.Module = model_class.from_config(config)
        own = model.state_dict()
        for key, value in self.renamed(model).items():
            head = own[key].shape if key in own and own[key].ndim == 2 else ()
            if head == (config.num_labels, *value.shape[1:]):
                return len(value)
        return config.num_labels


def _modules(keys: Collection[str]) -> set[str]:
    """The modules that tensors of these names are on."""
    return {key.rpartition(".")[0] for key in keys}


def placed(names: Collection[str], own: Collection[str]) -> dict[str, str] | None:
    """Names of one model → those of another that holds it under a prefix; None unless one prefix fits.

    Examples:
        >>> placed(["layers.0.fc"], {"tower.layers.0.fc", "tower.layers.1.fc"})
        {'layers.0.fc': 'tower.layers.0.fc'}
    """
    known = set(own)
    first = min(names, default="")
    prefixes = {""} | {one.removesuffix(first) for one in known if one.endswith(f".{first}")}
    fitting = [prefix for prefix in prefixes if all(prefix + name in known for name in names)]
    if "" in fitting:
        return {name: name for name in names}
    return {name: fitting[0] + name for name in names} if len(fitting) == 1 else None


def find_adapter(alone: AdapterAloneError, place: str) -> Adapter:
    """The adapter that was found where a model was looked for.

    Args:
        alone: What was raised there.
        place: Folder or hub name.

    Raises:
        ModelError: As `read_adapter`; or where its base is not named.
    """
    weights = (
        None if Path(place).is_dir() else next(filter(None, (hub_file(place, w) for w in _WEIGHTS)), None)
    )
    adapter = read_adapter(alone.path, weights, place)
    if not adapter.base:
        raise ModelError(
            f"{place} holds an adapter and does not name the model that it was trained on.",
            "Say it in its adapter_config.json: base_model_name_or_path, a folder or a name on the hub.",
        )
    return adapter


def read_adapter(config: Path, weights: Path | None = None, place: str | None = None) -> Adapter:
    """The adapter that an `adapter_config.json` describes.

    Args:
        config: That file.
        weights: Its tensors; default the `adapter_model` beside it.
        place: What it is called; default its folder.

    Raises:
        ModelError: When it is of a kind that is not folded, or a file is missing or broken.
    """
    content = read_json(config)
    place = place or str(config.parent)
    settings = read_settings(content, str(config), on_base=True)
    found = [weights] if weights else [config.parent / name for name in _WEIGHTS]
    file = next((path for path in found if path.is_file()), None)
    if file is None:
        raise ModelError(f"{place} holds an {ADAPTER} but no {' or '.join(_WEIGHTS)}.", "Fetch it again.")
    base = content.get("base_model_name_or_path")
    base = base if isinstance(base, str) else ""
    beside = config.parent / base
    mapping = content.get("auto_mapping")
    base_class = mapping.get("base_model_class") if isinstance(mapping, Mapping) else None
    try:
        state = open_checkpoint(file).state
    except ModelError as error:
        raise ModelError(f"{place} is an adapter of PEFT. {error.message}", error.hint) from error
    return Adapter(
        place,
        settings,
        canonical(without_prefix(state)),
        str(beside) if base and not Path(base).is_dir() and beside.is_dir() else base,
        base_class if isinstance(base_class, str) else "",
        AdapterTargets.read(content),
    )
