"""The prompt variant of clip_enhanced: classes are texts, and the image's feature is compared with them."""

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTokenizer

from xai.core import ConfigError, ModelError
from xai.models.checkpoint import State
from xai.models.detector import Detector, DetectorConfig, TextSimilarity, build_head
from xai.models.pretrained import build_text_tower
from xai.models.tower import TowerOptions

_MOST_VECTORS = 75  # CLIP reads 77 tokens, two of which begin and end the text
_CLASSES = ("a photo of a real face", "a photo of a fake face")


def build_prompt_variant(
    tower: Any,
    text: State,
    projection: State,
    context: State,
    config: DetectorConfig,
) -> Detector:
    """CLS of the last hidden state → projection → cosine with each class's text.

    The published forward pass puts one placeholder per learned context vector before each text but does
    not insert the vectors, and reads the first token of the text tower. That token sees only itself.

    Args:
        tower: The vision tower.
        text: Weights of the text tower.
        projection: Weights of the Linear from image to text width.
        context: The learned context (n, width) under its only key; only n is used.
        config: Names the folder of the CLIP tokenizer, and says what shapes cannot.

    Raises:
        ConfigError: When the tokenizer folder is missing.
        ModelError: When the context is none, or a tower's weights do not fit.
    """
    tokenizer = config.clip_path
    if tokenizer is None or not tokenizer.is_dir():
        raise ConfigError(
            f"The prompt variant needs the CLIP tokenizer; clip_path is {tokenizer}.",
            "Name a folder with vocab.json and merges.txt, or tokenizer.json: clip_path: DIR in the YAML.",
        )
    vectors = next(iter(context.values()))
    if len(context) != 1 or vectors.ndim != 2 or not 0 < len(vectors) <= _MOST_VECTORS:
        shapes = ", ".join(f"ctx{key} {tuple(value.shape)}" for key, value in sorted(context.items())[:5])
        raise ModelError(f"The prompt variant has one learned context (n, width); got {shapes}.")
    placeholder = " ".join(["X"] * len(vectors))
    try:
        tokens = CLIPTokenizer.from_pretrained(tokenizer)(
            [f"{placeholder} {name}" for name in _CLASSES], return_tensors="pt", padding=True, truncation=True
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"No CLIP tokenizer can be read from {tokenizer}: {error}.") from None
    options = TowerOptions(config.num_attention_heads, config.hidden_act)
    with torch.no_grad():
        hidden: Tensor = build_text_tower(text, options)(**tokens).last_hidden_state
    texts = F.normalize(hidden[:, 0], dim=-1)
    if torch.allclose(texts[0], texts[1], atol=1e-5):
        warnings.warn(
            "The texts of real and fake have the same feature, so this detector gives every image equal "
            "logits: it reads a token that sees nothing of the texts.",
            stacklevel=2,
        )
    one, zero = torch.ones((), dtype=texts.dtype), torch.zeros((), dtype=texts.dtype)
    head = nn.Sequential(build_head(projection, tower.config.hidden_size), TextSimilarity(texts, one, zero))
    return Detector(tower, head, "cls")
