"""The methods by name, and presets: a method and its options under the name of what they are for."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict
from torch import nn

from xai.attr.base import MethodInfo, PatchAttribution
from xai.core import ConfigError, Registry, UsageError, is_import_path, nearest
from xai.core.catalogue import Family, ModelNeed
from xai.core.options import checked
from xai.core.yaml_models import read_model

Options = Mapping[str, Any]  # of a method, by name


def _enter(foreign: Any) -> str:
    """Register a method of foreign code, unless its module did."""
    if not (isinstance(foreign, type) and issubclass(foreign, PatchAttribution)):
        raise UsageError("is no subclass of xai.attr.PatchAttribution.", "Derive the method from it.")
    if not isinstance(getattr(foreign, "info", None), MethodInfo):
        raise UsageError("has no `info`.", "Set it in the class: info = xai.attr.MethodInfo(...).")
    if getattr(foreign._relevance, "__isabstractmethod__", False):
        raise UsageError("does not implement _relevance.", "Write it, or derive from a method that does.")
    if METHODS.registered.get(foreign.info.name) is not foreign:
        register(foreign)
    return foreign.info.name


METHODS: Registry[type[PatchAttribution]] = Registry("method", "xai.methods", _enter)
Method = TypeVar("Method", bound=PatchAttribution)


def register(method: type[Method]) -> type[Method]:
    """Class decorator: enter a method under the name in its `info`, with its options checked by type."""
    method.__init__ = checked(method.__init__, f"Method {method.info.name!r}", ("forward_func",))
    METHODS.add(method.info.name)(method)
    return method


def list_methods() -> list[MethodInfo]:
    """What is registered, by family and name, the controls last."""
    families = get_args(Family)
    return sorted((m.info for m in METHODS.values()), key=lambda i: (families.index(i.family), i.name))


@dataclass(frozen=True)
class Preset:
    """A choice that was measured.

    Args:
        name: As in `--preset`.
        method: Registry name.
        options: Of the method; those left out keep its defaults.
        purpose: What it is for, in one sentence.
        caution: What speaks against it, in one sentence that is said whenever it explains.
    """

    name: str
    method: str
    options: Options
    purpose: str
    caution: str = ""


_CHOICES = (
    Preset(
        "faithful",
        "integrated_mask_gradient",
        {"n_steps": 8},
        "What the answer rests on, for and against: the default.",
    ),
    Preset(
        "one_pass",
        "gradient_weighted_attention",
        {"layers": "all_layers", "clamp": None},
        "The same question for one forward and one backward pass, on any model; where a class token is read, "
        "mask_gradient, as cheap, was more faithful on most further heads (reports/many-heads).",
    ),
    Preset(
        "localisation",
        "gradient_weighted_attention",
        {"layers": "last_4_layers", "clamp": "heads"},
        "Where a forged region lies: what speaks for the class in any head of the last four layers.",
        "Which options place the map best changed between detectors (reports/many-heads): choose them "
        "on forgeries of your own, with xai forge and then xai tune --metric average_precision.",
    ),
    Preset(
        "script",
        "gradient_weighted_attention",
        {"layers": "last_layer", "clamp": "fused"},
        "What the attention visualiser script for clip_enhanced draws by default.",
    ),
)
PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _CHOICES})
"""By name; measured in `reports/clip-forgery`."""
DEFAULT_PRESET = PRESETS["faithful"]
"""What explains where no method is named, on a model that offers what it needs."""
DEFAULTS: tuple[tuple[str, Options, ModelNeed], ...] = (
    ("integrated_mask_gradient", PRESETS["faithful"].options, "read_out_token"),
    ("gradient_weighted_attention", PRESETS["one_pass"].options, "global_attention"),
    ("integrated_gradients", {"baseline": "mean", "n_steps": 16}, "gradients"),  # reports/without-attention
    ("occlusion", {}, "pixels"),
)
"""Methods with options, and what a model must offer for them to be chosen; without a name the first explains
whose need is met. Over windows gradient-weighted attention works, but was not found to be faithful."""
OPTIONS_METHOD = "gradient_weighted_attention"
"""Whose options layers, fusions and sign are where no method is named; it has a map per layer and head."""
COMPARED = ("gradient_weighted_attention", "attention_rollout", "integrated_gradients")
"""What stands beside the default explanation in a comparison where no method is named."""


def full_options(method: str, options: Options) -> dict[str, Any]:
    """All options of a method, those left out at its defaults.

    Raises:
        UsageError: An unknown method.
    """
    parameters = list(inspect.signature(METHODS[method]).parameters.values())[1:]
    return {one.name: one.default for one in parameters if one.default is not one.empty} | dict(options)


def preset_of(method: str, options: Options) -> str | None:
    """The preset that a method with these options is, however it was asked for; None if it is none."""
    wanted = full_options(method, options)
    return next(
        (
            one.name
            for one in PRESETS.values()
            if one.method == method and full_options(method, one.options) == wanted
        ),
        None,
    )


def resolve_method(method: str | type, options: Options) -> tuple[str, dict[str, Any]]:
    """Registry name and options of what is meant: a class, a method's name, or a preset with further options.

    Raises:
        UsageError: The name is none of this, its package is broken, or the class is no method.
    """
    if isinstance(method, type):
        return METHODS.enter(method), dict(options)
    if method in PRESETS:
        return PRESETS[method].method, {**PRESETS[method].options, **options}
    if method not in METHODS.names() and not is_import_path(method):
        raise UsageError(f"Unknown method {method!r}.", nearest(method, [*METHODS.names(), *PRESETS]))
    return METHODS[method].info.name, dict(options)


def create(name: str, classifier: nn.Module, **options: Any) -> PatchAttribution:
    """Make a method by registry name, or by the name of a preset, whose options stand where none are given.

    Raises:
        UsageError: For an unknown name or option; the nearest valid one is named.
    """
    name, options = resolve_method(name, options)
    method = METHODS[name]
    valid = list(inspect.signature(method).parameters)[1:]
    for option in options:
        if option not in valid:
            hint = nearest(option, valid) if valid else "It takes no options."
            raise UsageError(f"Method {name!r} has no option {option!r}.", hint)
    return method(classifier, **options)


class MethodFile(BaseModel):
    """A method with its options in a YAML file, as `xai tune` writes it.

    Args:
        method: Registry name, or `package.module:Class`.
        options: The method's own.
        tuned: How the options were found; for the reader.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    options: dict[str, Any] = {}
    tuned: dict[str, Any] | None = None


def read_method_file(path: str | Path, trust_code: bool = False) -> MethodFile:
    """Read and check a method's YAML; code that it names may lie in its folder.

    Args:
        path: The file.
        trust_code: Whether code that it names, `package.module:Class`, may be imported.

    Raises:
        ConfigError: The file is missing or no such YAML, or names an unknown method, or code that is not
            trusted or cannot be used.
    """
    found, file = read_model(path, MethodFile, "method file", "xai tune writes one: method, options, tuned.")
    try:
        METHODS.resolve(found.method, trusted=trust_code, folder=Path(path).parent)
        METHODS[found.method]
    except UsageError as error:
        message = f"{path}:{file.line(('method',))}: {error.message}"
        raise ConfigError(message, error.hint) from error
    return found
