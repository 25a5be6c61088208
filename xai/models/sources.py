"""Where models come from: one entry per kind of spec, and `load`, which picks it."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from xai.core import ModelError, ProblemType, UsageError, nearest
from xai.core.files import expanded
from xai.models.classifier import Classifier, Grid, class_names

_DTYPES = ("float16", "bfloat16", "float32", "float64")
_KINDS = ("demo", "hf", "local", "timm", "open_clip")
_EXAMPLES = "Write demo, hf:ORG/NAME, local:DIR, timm:NAME, open_clip:NAME/PRETRAINED or FILE.yaml."
_DEMO = Path(__file__).parent / "demo" / "detector.yaml"


@dataclass(frozen=True)
class Source:
    """A kind of spec.

    Args:
        spec: How it is written.
        summary: One line of help.
    """

    spec: str
    summary: str


def list_sources() -> list[Source]:
    """What `load` accepts besides an nn.Module."""
    return [
        Source("demo", "The detector shipped with the package (real or fake); needs no download."),
        Source(
            "FILE.yaml", "A published deepfake detector, or a class of your own; see configs/ for examples."
        ),
        Source(
            "hf:ORG/NAME", "A *ForImageClassification on the Hugging Face hub, or CLIP/SigLIP with prompts."
        ),
        Source("local:DIR", "The same, in a folder on disk."),
        Source("timm:NAME", "A timm vision transformer (extra: timm)."),
        Source("open_clip:NAME/PRETRAINED", "An open_clip model with prompts (extra: open-clip)."),
    ]


def load(
    spec: str | Path | nn.Module,
    labels: Sequence[str] | None = None,
    grid: Grid | None = None,
    device: str | torch.device | None = None,
    *,
    weights: str | Path | None = None,
    dtype: str | torch.dtype | None = None,
    prompts: Sequence[str] | None = None,
    problem_type: str | None = None,
    trust_remote_code: bool = False,
    trust_code: bool = False,
) -> Classifier:
    """Load what is to be explained.

    Args:
        spec: "demo", "hf:ORG/NAME", "local:DIR", "timm:NAME", "open_clip:NAME/PRETRAINED", a YAML file, an
            nn.Module (pixels in, logits out; left as it is: copied if it is to be moved), or a Classifier,
            returned as it is.
        labels: Class names in the order of the logits; needed for an nn.Module without a config.
        grid: (rows, cols) of the patches, or a PatchGrid with the number of prefix tokens, where the model
            does not say it; also in words, "14x14" or "14x14+1".
        device: Where to put it; None leaves it where it is loaded, on the CPU.
        weights: Checkpoint for a YAML file, instead of the one named there.
        dtype: Such as "bfloat16"; None keeps that of the weights.
        prompts: One text per class, for CLIP and SigLIP.
        problem_type: What the logits mean, where neither configuration nor YAML says it:
            "single_label_classification" (softmax; one logit: sigmoid) or "multi_label_classification" (a
            sigmoid for each label). A head that the configuration calls a regression is refused, unless this
            says that its one output is a logit.
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
    wanted = _as_dtype(dtype)
    if not isinstance(spec, str | Path | nn.Module):
        raise UsageError(
            f"A model is named, or given as a torch.nn.Module; this is a {type(spec).__name__}.",
            "A function, such as torch.compile makes of what is compiled already, or a state dict is none: "
            f"give the module itself. {_EXAMPLES}",
        )
    ProblemType.parse(problem_type, str(spec) if isinstance(spec, str | Path) else type(spec).__name__)
    if isinstance(spec, nn.Module) and (weights or prompts):
        raise UsageError("weights and prompts belong to a model that is named, not to a module.", _EXAMPLES)
    if isinstance(spec, Classifier):
        if labels or grid or device or dtype or problem_type:
            raise UsageError(
                "A Classifier is returned as it is.",
                "Move it with .to(device, dtype); labels, grid, problem_type are given where it is loaded.",
            )
        return spec
    if isinstance(spec, nn.Module):
        module = deepcopy(spec) if device or dtype else spec  # moving the caller's own would change it
        classifier = _wrap(module, labels, grid, problem_type)
    else:
        classifier = _load_spec(
            str(spec), labels, grid, weights, prompts, problem_type, trust_remote_code, trust_code
        )
    try:
        return classifier.to(device=device, dtype=wanted)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise UsageError(f"The model cannot be put on {device}: {error}") from None


def _load_spec(
    spec: str,
    labels: Sequence[str] | None,
    grid: Grid | None,
    weights: str | Path | None,
    prompts: Sequence[str] | None,
    problem_type: str | None,
    trust_remote_code: bool,
    trust_code: bool,
) -> Classifier:
    # each library is imported where it is needed: transformers alone takes seconds
    kind, _, place = spec.partition(":")
    path = _DEMO if spec == "demo" else expanded(spec)
    is_yaml = spec == "demo" or path.suffix in (".yaml", ".yml")
    if weights is not None and not is_yaml:
        raise UsageError(f"weights belong to a YAML file, not to {spec}.", _EXAMPLES)
    if prompts is not None and (is_yaml or kind == "timm"):
        raise UsageError(f"{spec} reads no prompts.", "Only CLIP and SigLIP models take texts as classes.")
    if is_yaml:
        from xai.models.yaml_source import load_yaml

        checkpoint = None if weights is None else expanded(weights)
        return load_yaml(path, spec, labels, grid, checkpoint, problem_type, trust_code)
    if kind in ("hf", "local") and place:
        from xai.models.huggingface import load_huggingface

        if kind == "local" and not expanded(place).is_dir():
            raise ModelError(f"There is no folder {place}.", "Give local:DIR with config.json and weights.")
        place = str(expanded(place)) if kind == "local" else place
        return load_huggingface(place, spec, labels, grid, prompts, trust_remote_code, problem_type)
    if kind == "timm" and place:
        from xai.models.timm_source import load_timm

        return load_timm(place, spec, labels, grid, problem_type)
    if kind == "open_clip" and place:
        from xai.models.open_clip_source import load_open_clip

        return load_open_clip(place, spec, labels, grid, prompts, problem_type)
    if path.is_dir():
        raise UsageError(f"{spec} is a folder.", f"Write local:{spec}.")
    if path.is_file():
        raise UsageError(f"{spec} is no YAML file.", 'Weights go with one: load("clip.yaml", weights=...).')
    raise UsageError(f"Unknown model {spec!r}. {nearest(kind, _KINDS)}", _EXAMPLES)


def _wrap(
    module: nn.Module, labels: Sequence[str] | None, grid: Grid | None, problem_type: str | None
) -> Classifier:
    if labels is None:
        labels = class_names(getattr(module, "config", None))
        if labels is None:
            raise UsageError(
                f"{type(module).__name__} does not name its classes.",
                'Give them in the order of the logits: labels=["real", "fake"].',
            )
    return Classifier(module, labels, name=type(module).__name__, grid=grid, problem_type=problem_type)


def _as_dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    if isinstance(dtype, str):
        if dtype not in _DTYPES:
            raise UsageError(f"Unknown dtype {dtype!r}.", nearest(dtype, _DTYPES))
        return getattr(torch, dtype)
    return dtype
