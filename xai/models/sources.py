"""Where models come from: one source per kind of spec, also of installed packages, and `load`."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from xai.core import ConfigError, ModelError, ProblemType, Registry, UsageError, nearest
from xai.core.classes import class_names, read_labels
from xai.core.errors import first_line
from xai.core.files import expanded
from xai.core.options import check_type
from xai.models.classifier import Classifier, Grid, LoadOptions
from xai.models.detector import read_config
from xai.models.factory import fill, make_module, refuse_untrusted
from xai.models.preprocessing import Preprocessing, read_preprocessing_keys

_DTYPES = ("float16", "bfloat16", "float32", "float64")
_EXAMPLES = "Write demo, hf:ORG/NAME, local:DIR, timm:NAME, open_clip:NAME/PRETRAINED or FILE.yaml."
_DEVICES = "Write cpu, cuda, cuda:1 or mps."
_DEMO = Path(__file__).parent / "demo" / "detector.yaml"


@dataclass(frozen=True)
class Source:
    """A kind of spec, and what loads it.

    A package offers one of its own as an entry point of the group `xai.models`, named as its prefix.

    Args:
        spec: How it is written, `PREFIX:REST`; the demo and YAML files have none.
        summary: One line of help.
        load: REST and the options of `load` → a Classifier, or a module (pixels in, logits out), which is
            wrapped in one.
        options: Which of "weights" and "prompts" it reads.
    """

    spec: str
    summary: str
    load: Callable[[str, LoadOptions], nn.Module] = field(repr=False)
    options: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        """What stands before the colon."""
        return self.spec.partition(":")[0]


def _enter(found: Any) -> str:
    if not isinstance(found, Source):
        raise UsageError("is no xai.models.Source.", "Offer one: Source(spec, summary, load).")
    if SOURCES.registered.get(found.prefix) is not found:
        SOURCES.add(found.prefix)(found)
    return found.prefix


SOURCES: Registry[Source] = Registry("model source", "xai.models", _enter)
"""By prefix. Each imports its library when it is asked for a model: transformers alone takes seconds."""


def list_sources() -> list[Source]:
    """What `load` accepts besides an nn.Module, those of installed packages too."""
    return list(SOURCES.values())


def load(
    spec: str | Path | nn.Module,
    labels: Sequence[str] | Mapping[Any, Any] | None = None,
    grid: Grid | None = None,
    device: str | torch.device | None = None,
    *,
    weights: str | Path | None = None,
    dtype: str | torch.dtype | None = None,
    prompts: Sequence[str] | None = None,
    problem_type: str | None = None,
    preprocessing: Preprocessing | None = None,
    trust_remote_code: bool = False,
    trust_code: bool = False,
) -> Classifier:
    """Load what is to be explained.

    Args:
        spec: "demo", "hf:ORG/NAME", "local:DIR", "timm:NAME", "open_clip:NAME/PRETRAINED", a YAML file, the
            same with the prefix of an installed package, an nn.Module (pixels in, logits out; left as it is:
            copied if it is to be moved), or a Classifier, returned as it is.
        labels: Class names in the order of the logits, or a mapping between them and their numbers; needed
            for an nn.Module without a config.
        grid: (rows, cols) of the patches, or a PatchGrid with the number of prefix tokens, where the model
            does not say it; also in words, "14x14" or "14x14+1".
        device: Where to put it; None leaves it where it is loaded, on the CPU.
        weights: Checkpoint for a YAML file, instead of the one named there.
        dtype: Such as "bfloat16"; None keeps that of the weights.
        prompts: One text per class, for models whose classes are texts, such as CLIP and SigLIP.
        problem_type: What the logits mean, where neither configuration nor YAML says it:
            "single_label_classification" (softmax; one logit: sigmoid) or "multi_label_classification" (a
            sigmoid for each label). A head that the configuration calls a regression is refused, unless this
            says that its one output is a logit.
        preprocessing: How an image becomes the input of an nn.Module, which takes tensors only without it;
            what is named brings its own.
        trust_remote_code: Whether to run code from a model's repository or folder (Hugging Face).
        trust_code: Whether to run the `factory` that a YAML file names, which may be any callable.

    Returns:
        A Classifier: preprocessed pixels (B, 3, H, W) → logits (B, classes).

    Raises:
        UsageError: When the spec or an option is wrong, or `problem_type` contradicts the model.
        ModelError: When the model or its weights are missing, broken or do not fit, or it is a regression.

    Examples:
        >>> import xai
        >>> from xai.data import shipped_samples
        >>> model = xai.load("demo")
        >>> model.labels
        ('real', 'fake')
        >>> pixels = model.preprocess(shipped_samples()[0].image)
        >>> model(pixels[None]).shape
        torch.Size([1, 2])
    """
    wanted, place = _as_dtype(dtype), _as_device(device)
    check_type("weights", weights, str | PathLike | None)
    if not isinstance(spec, str | Path | nn.Module):
        raise UsageError(
            f"A model is named, or given as a torch.nn.Module; this is a {type(spec).__name__}.",
            "A function, such as torch.compile makes of what is compiled already, or a state dict is none: "
            f"give the module itself. {_EXAMPLES}",
        )
    name = type(spec).__name__ if isinstance(spec, nn.Module) else str(spec)
    ProblemType.parse(problem_type, name)
    if isinstance(spec, nn.Module) and (weights or prompts):
        raise UsageError("weights and prompts belong to a model that is named, not to a module.", _EXAMPLES)
    if preprocessing is not None and not isinstance(spec, nn.Module):
        raise UsageError(
            "preprocessing belongs to a module; a model that is named brings its own.", _EXAMPLES
        )
    if isinstance(spec, Classifier):
        if any(one is not None for one in (labels, grid, device, dtype, problem_type, preprocessing)):
            raise UsageError(
                "A Classifier is returned as it is.",
                "Move it with .to(device, dtype); all else is given where it is loaded.",
            )
        return spec
    checkpoint = None if weights is None else expanded(weights)
    named = None if labels is None else list(read_labels(labels))
    options = LoadOptions(name, named, grid, checkpoint, prompts, problem_type, trust_remote_code, trust_code)
    if isinstance(spec, nn.Module):
        # moving the caller's own would change it
        classifier = _wrap(deepcopy(spec) if device or dtype else spec, options, preprocessing)
    else:
        classifier = _load_named(name, options)
    try:
        return classifier.to(device=place, dtype=wanted)
    except (RuntimeError, AssertionError, TypeError, ImportError) as error:
        raise UsageError(f"The model cannot be put on {device}: {error}", _DEVICES) from None


def _load_named(spec: str, options: LoadOptions) -> Classifier:
    source, rest = _source_of(spec)
    if options.weights is not None and "weights" not in source.options:
        raise UsageError(f"weights belong to a YAML file, not to {spec}.", _EXAMPLES)
    if options.prompts is not None and "prompts" not in source.options:
        raise UsageError(
            f"{spec} reads no prompts.", "Only models such as CLIP and SigLIP take texts as classes."
        )
    if source in _OWN:
        return _wrap(source.load(rest, options), options)
    try:
        made = source.load(rest, options)
    except (ConfigError, ModelError, UsageError):
        raise
    except (Exception, SystemExit) as error:  # of code that is not ours
        raise ModelError(
            f"{spec} cannot be loaded: {source.load.__module__} failed with {type(error).__name__}: "
            f"{first_line(error)}",
            f"Tell the authors of the package that offers {source.prefix}:.",
        ) from error
    if not isinstance(made, nn.Module):
        raise ModelError(
            f"{spec} cannot be loaded: {source.load.__module__} returned {type(made).__name__}, no module.",
            f"Tell the authors of the package that offers {source.prefix}:.",
        )
    return _wrap(made, options)


def _source_of(spec: str) -> tuple[Source, str]:
    """The source of a spec, and what it is asked for."""
    kind, colon, rest = spec.partition(":")
    if not kind or (colon and not rest):
        raise UsageError(f"{spec!r} names no model.", _EXAMPLES)
    path = expanded(spec)
    if spec == _DEMO_SOURCE.spec:
        return _DEMO_SOURCE, rest
    if path.suffix in (".yaml", ".yml"):
        return _YAML_SOURCE, str(path)
    if rest and kind in SOURCES.names() and kind not in (_DEMO_SOURCE.spec, _YAML_SOURCE.spec):
        try:
            return SOURCES[kind], rest
        except UsageError as error:
            raise ModelError(error.message, error.hint) from error
    if path.is_dir():
        raise UsageError(f"{spec} is a folder.", f"Write local:{spec}.")
    if path.is_file():
        raise UsageError(f"{spec} is no YAML file.", 'Weights go with one: load("clip.yaml", weights=...).')
    raise UsageError(
        f"Unknown model {spec!r}. {nearest(kind, SOURCES.names() - {_YAML_SOURCE.spec})}", _EXAMPLES
    )


def _wrap(module: nn.Module, options: LoadOptions, preprocessing: Preprocessing | None = None) -> Classifier:
    if isinstance(module, Classifier):
        return module
    labels = options.labels or class_names(getattr(module, "config", None))
    if labels is None:
        raise UsageError(
            f"{type(module).__name__} does not name its classes.",
            'Give them in the order of the logits: labels=["real", "fake"].',
        )
    return options.classifier(module, labels, preprocessing)


def _as_dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    if isinstance(dtype, str):
        if dtype not in _DTYPES:
            raise UsageError(f"Unknown dtype {dtype!r}.", nearest(dtype, _DTYPES))
        return getattr(torch, dtype)
    check_type("dtype", dtype, torch.dtype | None)
    return dtype


def _as_device(device: str | torch.device | None) -> torch.device | None:
    if device is None:
        return None
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise UsageError(f"The model cannot be put on {device}: {first_line(error)}", _DEVICES) from None
    if found.type == "meta":
        raise UsageError("On the device meta weights have no values, so nothing can be computed.", _DEVICES)
    return found


def _load_demo(rest: str, options: LoadOptions) -> nn.Module:
    return _load_yaml(str(_DEMO), options)


def _load_yaml(place: str, options: LoadOptions) -> nn.Module:
    """The detector that a YAML file describes: of a published family, or a class of the user's own."""
    path = Path(place)
    config, ignored = read_config(path)
    if options.problem_type is not None and config.problem_type not in (None, options.problem_type):
        raise ConfigError(
            f"{path} says problem_type: {config.problem_type}, not {options.problem_type}.",
            "Say it once, in the file.",
        )
    options = replace(
        options,
        grid=options.grid or config.grid,
        problem_type=options.problem_type or config.problem_type,
        faces=config.faces,
    )
    weights = options.weights or config.weights
    source: dict[str, object] = {"config": str(path), "ignored_config_keys": ignored}
    if config.factory is None:
        from xai.models.families import load_detector

        if weights is None:
            raise ConfigError(f"{path} names no weights.", "Add weights: FILE to it, or pass --weights FILE.")
        return load_detector(config, weights, options, source)
    if not options.trust_code:
        refuse_untrusted(config, path)
    module = make_module(config, path.parent)
    if weights is not None:
        source |= fill(module, weights, config)
    return options.classifier(
        module,
        options.labels or config.labels,
        read_preprocessing_keys(config, {}, None),
        {**source, "family": config.factory, "weights": weights and str(weights)},
    )


def _load_local(place: str, options: LoadOptions) -> nn.Module:
    if not expanded(place).is_dir():
        raise ModelError(f"There is no folder {place}.", "Give local:DIR with config.json and weights.")
    return _load_huggingface(str(expanded(place)), options)


def _load_huggingface(place: str, options: LoadOptions) -> nn.Module:
    from xai.models.huggingface import load_huggingface

    return load_huggingface(place, options)


def _load_timm(place: str, options: LoadOptions) -> nn.Module:
    from xai.models.libraries import load_timm

    return load_timm(place, options)


def _load_open_clip(place: str, options: LoadOptions) -> nn.Module:
    from xai.models.libraries import load_open_clip

    return load_open_clip(place, options)


_DEMO_SOURCE = Source(
    "demo",
    "The detector shipped with the package (real or fake); needs no download.",
    _load_demo,
    ("weights",),
)
_YAML_SOURCE = Source(
    "FILE.yaml",
    "A published deepfake detector, or a class of your own; see configs/ for examples.",
    _load_yaml,
    ("weights",),
)
_OWN = (
    _DEMO_SOURCE,
    _YAML_SOURCE,
    Source(
        "hf:ORG/NAME",
        "A *ForImageClassification on the Hugging Face hub, or CLIP, SigLIP … with prompts.",
        _load_huggingface,
        ("prompts",),
    ),
    Source("local:DIR", "The same, in a folder on disk.", _load_local, ("prompts",)),
    Source("timm:NAME", "A timm model, also hf-hub:ORG/NAME and local-dir:DIR (extra: timm).", _load_timm),
    Source(
        "open_clip:NAME/PRETRAINED",
        "An open_clip model with prompts, also hf-hub:ORG/NAME and local-dir:DIR (extra: open-clip).",
        _load_open_clip,
        ("prompts",),
    ),
)
for _source in _OWN:
    SOURCES.add(_source.prefix)(_source)
