"""Models in Hugging Face folders, on the hub or on disk: classifiers, and those whose classes are texts.

An adapter of PEFT without its base is folded into the base that it names.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageClassification,
    AutoTokenizer,
    BlipForImageTextRetrieval,
)
from transformers.utils.hub import cached_file

from xai.core import ModelError, ProblemType, UsageError
from xai.core.classes import check_labels, class_names
from xai.models.adapter_folder import find_adapter
from xai.models.classifier import Classifier, LoadOptions
from xai.models.conversions import FromColours, FromPatches, StateAsLogits
from xai.models.detector import DetectorConfig, TextSimilarity
from xai.models.families import load_detector
from xai.models.folder import AdapterAloneError, hub_file, read_config, weights_size
from xai.models.pretrained import Tune, check_numbers, complete_from_hub, from_hub
from xai.models.processor import Reads, read_colours, read_preprocessing

# arguments that PyTorchModelHubMixin writes into config.json, which names no kind of model
_COMMUNITY_FORENSICS = {"model_size", "input_size", "patch_size"}
_PROCESSOR = "preprocessor_config.json"
_READS: dict[str, Reads] = {"siglip2": "patches", "imagegpt": "colours"}

ZERO_SHOT = (
    "align", "altclip", "blip", "chinese_clip", "clip", "clipseg", "groupvit", "metaclip_2", "siglip",
    "siglip2", "vision-text-dual-encoder",
)  # fmt: skip
"""Model types that are built here, by the names of transformers."""
OTHER_ZERO_SHOT = frozenset({
    "blip-2", "bridgetower", "flava", "owlv2", "owlvit", "tipsv2", "videoprism", "xclip",
})  # fmt: skip
"""Those that compare images with texts in other ways."""
SIGMOID = ("siglip", "siglip2")
"""Trained with a sigmoid for every text, so that their labels are independent."""
_MATCHING = "BlipForImageTextRetrieval"


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
    adapter, processor = None, place
    try:
        raw = read_config(place)
    except AdapterAloneError as alone:
        adapter = find_adapter(alone, place)
        raw = read_config(adapter.base)
        place, processor = adapter.base, place if hub_file(place, _PROCESSOR) else adapter.base
    if not trust_remote_code:
        _refuse_kernels(raw, name)
    if raw.keys() >= _COMMUNITY_FORENSICS and "model_type" not in raw and adapter is None:
        weights = Path(from_hub(cached_file, place, filename="model.safetensors"))
        said = {"model_name": "community_forensics", "resolution": raw["input_size"]}
        config = DetectorConfig.model_validate({**said, "problem_type": options.problem_type})
        return load_detector(config, weights, options, {"config": place})
    if raw.get("model_type") == "GenD" and adapter is None:
        # its own code on the hub only wraps a tower that is rebuilt here, so none of it need be run
        if raw.get("head") not in ("linear", "LinearNorm"):
            raise ModelError(f"{name} has the unknown GenD head {raw.get('head')!r}.")
        weights = Path(from_hub(cached_file, place, filename="model.safetensors"))
        gend = DetectorConfig.model_validate(
            {"model_name": "gend", "head": raw["head"], "problem_type": options.problem_type}
        )
        return load_detector(gend, weights, options, {"config": place})
    config = from_hub(AutoConfig.from_pretrained, place, trust_remote_code=trust_remote_code)
    kinds = [*(config.architectures or ()), *([adapter.base_class] if adapter else [])]
    classifies = any("ImageClassification" in kind for kind in kinds)
    description: dict[str, object] = {}
    tune = None if adapter is None else adapter.folding_into(description)
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
        module: nn.Module = build_zero_shot(place, config, texts, trust_remote_code, tune)
        labels = labels or texts
        if len(labels) != len(texts):
            raise UsageError(f"{len(texts)} prompts but {len(labels)} labels; give one label per prompt.")
        description["prompts"] = list(texts)
        if config.model_type in SIGMOID or matches(config):
            options = replace(options, problem_type=options.problem_type or ProblemType.MULTI_LABEL)
    elif classifies:
        if (held := weights_size(place)) is not None and not trust_remote_code:
            check_numbers(AutoModelForImageClassification, config, held)
        if adapter is not None and not trust_remote_code:
            config.num_labels = adapter.count_classes(AutoModelForImageClassification, config)
        module = complete_from_hub(
            AutoModelForImageClassification.from_pretrained,
            place,
            tune,
            config=config,
            trust_remote_code=trust_remote_code,
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
    preprocessing = read_preprocessing(processor, trust_remote_code, _READS.get(config.model_type, "pixels"))
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


class ZeroShot(nn.Module):
    """Image tower, projection if there is one, cosine with each text: scale · cosine (+ bias).

    Args:
        vision: Image tower with a `pooler_output`.
        projection: From its width to the texts'; identity where the tower's is theirs.
        head: The texts.
    """

    def __init__(self, vision: nn.Module, projection: nn.Module, head: TextSimilarity):
        super().__init__()
        self.vision = vision
        self.projection = projection
        self.head = head

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, texts)."""
        return self.head(self.projection(self.vision(pixel_values=pixels).pooler_output))


class Matching(nn.Module):
    """Each text reads the image through cross-attention and says whether they match (BLIP's matching head).

    A text's logit is that of a match less that of none, so that its sigmoid is the probability of a match.

    Args:
        vision: Image tower with a `last_hidden_state`.
        reader: Text encoder that attends to it.
        head: From the state of the text's first token to (no match, match).
        ids: (texts, L) tokens.
        mask: (texts, L) 1 where a token stands.
    """

    ids: Tensor
    mask: Tensor

    def __init__(self, vision: nn.Module, reader: nn.Module, head: nn.Module, ids: Tensor, mask: Tensor):
        super().__init__()
        self.vision = vision
        self.reader = reader
        self.head = head
        self.register_buffer("ids", ids)
        self.register_buffer("mask", mask)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, texts)."""
        image = self.vision(pixel_values=pixels).last_hidden_state
        images, texts = len(image), len(self.ids)
        image = image.repeat_interleave(texts, dim=0)
        read = self.reader(
            input_ids=self.ids.repeat(images, 1),
            attention_mask=self.mask.repeat(images, 1),
            encoder_hidden_states=image,
            encoder_attention_mask=self.mask.new_ones(image.shape[:2]),
        ).last_hidden_state
        no_match, match = self.head(read[:, 0]).unbind(-1)
        return (match - no_match).view(images, texts)


def matches(config: Any) -> bool:
    """Whether a configuration is that of a model with a matching head."""
    return _MATCHING in (config.architectures or ())


def build_zero_shot(
    place: str,
    config: Any,
    texts: Sequence[str],
    trust_remote_code: bool = False,
    tune: Tune | None = None,
) -> ZeroShot | Matching:
    """The zero-shot classifier of a model, in eval mode.

    Dual encoders read the texts once, here; their text tower is not kept. A matching head reads them with
    each image.

    Args:
        place: Folder or hub name.
        config: Its configuration, of a model type in ZERO_SHOT.
        texts: One per class.
        trust_remote_code: Whether to run code from the model's repository.
        tune: Changes the model before it reads the texts, see `complete_from_hub`.
    """
    kind = BlipForImageTextRetrieval if matches(config) else AutoModel
    model = complete_from_hub(kind.from_pretrained, place, tune, trust_remote_code=trust_remote_code)
    tokenizer = from_hub(AutoTokenizer.from_pretrained, place, trust_remote_code=trust_remote_code)
    independent = config.model_type in SIGMOID
    tokens = tokenizer(
        list(texts),
        return_tensors="pt",
        truncation=True,
        max_length=min(model.config.text_config.max_position_embeddings, tokenizer.model_max_length),
        # trained on texts padded to the full context, without a mask, and reads the last token
        padding="max_length" if independent else True,
        return_attention_mask=not independent,
    )
    if matches(config):
        ids, mask = tokens["input_ids"], tokens["attention_mask"]
        return Matching(model.vision_model, model.text_encoder, model.itm_head, ids, mask).eval()
    with torch.no_grad():
        features = model.get_text_features(**tokens).pooler_output
        # ALIGN divides by a temperature, the others learn the logarithm of a factor
        scale = model.logit_scale.exp() if hasattr(model, "logit_scale") else 1 / model.temperature
        bias = getattr(model, "logit_bias", torch.zeros_like(scale))
    head = TextSimilarity(F.normalize(features, dim=-1), scale.detach().squeeze(), bias.detach().squeeze())
    vision = model.vision_model
    if config.model_type == "siglip2":
        vision = FromPatches(vision, config.vision_config.patch_size)
    return ZeroShot(vision, getattr(model, "visual_projection", nn.Identity()), head).eval()
