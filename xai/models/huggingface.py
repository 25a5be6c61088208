"""Models in Hugging Face folders, on the hub or on disk: classifiers, and those whose classes are texts."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from torch import nn
from transformers import AutoConfig, AutoModelForImageClassification
from transformers.utils.hub import cached_file

from xai.core import ModelError, ProblemType, UsageError
from xai.core.target import check_labels, class_names
from xai.models.classifier import Classifier, LoadOptions
from xai.models.conversions import FromColours, FromPatches, StateAsLogits
from xai.models.detector import DetectorConfig
from xai.models.families import load_detector
from xai.models.folder import read_config, weights_size
from xai.models.pretrained import check_numbers, complete_from_hub, from_hub
from xai.models.processor import Reads, read_colours, read_preprocessing
from xai.models.zero_shot import OTHER_ZERO_SHOT, SIGMOID, ZERO_SHOT, build_zero_shot, matches

# arguments that PyTorchModelHubMixin writes into config.json, which names no kind of model
_COMMUNITY_FORENSICS = {"model_size", "input_size", "patch_size"}
_READS: dict[str, Reads] = {"siglip2": "patches", "imagegpt": "colours"}


def use_fused_attention(module: nn.Module) -> dict[str, Any]:
    """Switch a model whose config.json asks for eager attention to fused attention, where it has both.

    Returns:
        What was done, for `Classifier.describe`.
    """
    config: Any = getattr(module, "config", None)
    if getattr(config, "_attn_implementation", None) != "eager" or not getattr(
        module, "_supports_sdpa", False
    ):
        return {}
    cast(Any, module).set_attn_implementation("sdpa")
    return {"attention_implementation": "sdpa, where config.json says eager: the same attention, fused"}


def load_huggingface(place: str, options: LoadOptions) -> Classifier:
    """A `*ForImageClassification`, one of ZERO_SHOT with texts as classes, or a detector in a folder.

    Such folders are GenD's, and those that PyTorchModelHubMixin writes of Community Forensics.

    Args:
        place: Folder or hub name.
        options: Labels count before those of the configuration; prompts are one text per class, by default
            the labels. SigLIP was trained with a sigmoid for every text, and BLIP's matching head looks at
            each alone: their labels are independent, unless `problem_type` says that the texts exclude each
            other.

    Raises:
        ModelError: When it is missing, no image classifier, or its weights are incomplete.
        UsageError: When a zero-shot model gets neither labels nor prompts, or the labels are too many or few.
    """
    name, labels, prompts = options.name, options.labels, options.prompts
    trust_remote_code = options.trust_remote_code
    raw = read_config(place)
    if not trust_remote_code:
        _refuse_kernels(raw, name)
    if raw.keys() >= _COMMUNITY_FORENSICS and "model_type" not in raw:
        weights = Path(from_hub(cached_file, place, filename="model.safetensors"))
        said = {"model_name": "community_forensics", "resolution": raw["input_size"]}
        config = DetectorConfig.model_validate({**said, "problem_type": options.problem_type})
        return load_detector(config, weights, options, {"config": place})
    if raw.get("model_type") == "GenD":
        # its own code on the hub only wraps a tower that is rebuilt here, so none of it need be run
        if raw.get("head") not in ("linear", "LinearNorm"):
            raise ModelError(f"{name} has the unknown GenD head {raw.get('head')!r}.")
        weights = Path(from_hub(cached_file, place, filename="model.safetensors"))
        gend = DetectorConfig.model_validate(
            {"model_name": "gend", "head": raw["head"], "problem_type": options.problem_type}
        )
        return load_detector(gend, weights, options, {"config": place})
    config = from_hub(AutoConfig.from_pretrained, place, trust_remote_code=trust_remote_code)
    classifies = any("ImageClassification" in kind for kind in config.architectures or ())
    description: dict[str, object] = {}
    if config.model_type in OTHER_ZERO_SHOT and (prompts or not classifies):
        raise ModelError(
            f"{name} is a {config.model_type} model. Of the zero-shot models, whose classes are texts, this "
            f"kind is not built here; supported: {', '.join(ZERO_SHOT)}.",
            "Wrap it as a module, pixels in and logits per text out, the texts encoded once, and give it to "
            "xai.load(module, labels=...).",
        )
    if prompts or (config.model_type in ZERO_SHOT and not classifies):
        texts = prompts or labels
        if not texts:
            raise UsageError(
                f"{name} is a {config.model_type} model: its classes are texts.",
                'Give them: prompts=["a photo of a real face", "a photo of a fake face"].',
            )
        if config.model_type not in ZERO_SHOT:
            raise UsageError(
                f"{name} is a {config.model_type} model, which reads no texts.", "Leave prompts out."
            )
        module: nn.Module = build_zero_shot(place, config, texts, trust_remote_code)
        labels = labels or texts
        if len(labels) != len(texts):
            raise UsageError(f"{len(texts)} prompts but {len(labels)} labels; give one label per prompt.")
        description["prompts"] = list(texts)
        if config.model_type in SIGMOID or matches(config):
            options = replace(options, problem_type=options.problem_type or ProblemType.MULTI_LABEL)
    elif classifies:
        if (held := weights_size(place)) is not None and not trust_remote_code:
            check_numbers(AutoModelForImageClassification, config, held)
        module = complete_from_hub(
            AutoModelForImageClassification.from_pretrained, place, trust_remote_code=trust_remote_code
        )
        description.update(use_fused_attention(module))
        module = _as_pixels_to_logits(module, config, place, trust_remote_code)
        labels = labels or class_names(config) or ()
        check_labels(labels, config.num_labels, name)
    else:
        raise ModelError(
            f"{name} is no image classifier but {', '.join(config.architectures or [config.model_type])}.",
            "It is in timm's own format: write timm:local-dir:DIR or timm:hf-hub:ORG/NAME."
            if config.model_type == "timm_wrapper"
            else "Give a *ForImageClassification, or a model such as CLIP or SigLIP with prompts.",
        )
    preprocessing = read_preprocessing(place, trust_remote_code, _READS.get(config.model_type, "pixels"))
    return options.classifier(module, labels, preprocessing, description)


def _as_pixels_to_logits(module: nn.Module, config: Any, place: str, trust_remote_code: bool) -> nn.Module:
    """The module itself, or in what translates where it reads or answers in a form of its own."""
    if config.model_type == "siglip2":
        return FromPatches(module, config.vision_config.patch_size).eval()
    if config.model_type == "imagegpt":
        return FromColours(module, read_colours(place, trust_remote_code)).eval()
    if config.model_type == "pp_lcnet":
        return StateAsLogits(module).eval()
    return module


def _refuse_kernels(config: dict[str, Any], name: str) -> None:
    """A configuration may name attention code on the hub, which transformers fetches and runs unasked."""
    for key, value in config.items():
        if isinstance(value, dict):
            _refuse_kernels(value, name)
        elif key.endswith("attn_implementation") and isinstance(value, str) and "/" in value:
            raise ModelError(
                f"{name} asks for attention code from the hub ({key}: {value}); nothing was run.",
                "If you trust that code: trust_remote_code=True/--trust-remote-code.",
            )
