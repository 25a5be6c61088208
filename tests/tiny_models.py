"""Tiny random models of every family that people load, seeded: width 64, 2 layers, 32 px, 8 px patches.

One head of width 64 per tower, as loaders assume where only the weights are known.
"""

import string
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn

WIDTH, SIZE, PATCH = 64, 32, 8
TOWER: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "image_size": SIZE,
    "patch_size": PATCH,
}
TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
}
# ids of `clip_tokenizer`
LETTERS = {"vocab_size": 54, "bos_token_id": 52, "eos_token_id": 53, "pad_token_id": 53}


def randomize(module: Any, seed: int = 0) -> Any:
    """Replace every parameter by seeded noise, so that no gain is 1 and no bias 0; eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(module.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator) * 0.2
            is_gain = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(noise + 1 if is_gain else noise)
    return module.eval()


def pixels(batch: int = 2, size: int = SIZE, seed: int = 0) -> Tensor:
    """(batch, 3, size, size) noise."""
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(seed))


def clip_tower(**overrides: Any) -> hf.CLIPVisionModel:
    return randomize(hf.CLIPVisionModel(hf.CLIPVisionConfig(**{**TOWER, **overrides})))


def clip_model() -> hf.CLIPModel:
    config = hf.CLIPConfig(vision_config=TOWER, text_config={**TEXT, **LETTERS}, projection_dim=24)
    return randomize(hf.CLIPModel(config))


def siglip_model() -> hf.SiglipModel:
    text = {**TEXT, "hidden_size": WIDTH, "vocab_size": 6, "projection_size": WIDTH}
    return randomize(hf.SiglipModel(hf.SiglipConfig(vision_config=TOWER, text_config=text)))


def clip_tokenizer() -> hf.CLIPTokenizer:
    """Letters only, no merges; ids as in LETTERS."""
    letters = [*string.ascii_lowercase, *(f"{c}</w>" for c in string.ascii_lowercase)]
    words = [*letters, "<|startoftext|>", "<|endoftext|>"]
    return hf.CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[])


def word_tokenizer() -> hf.PreTrainedTokenizerFast:
    """Six words; ids as in `siglip_model`."""
    vocabulary = {w: i for i, w in enumerate(["<unk>", "<pad>", "real", "fake", "face", "a"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>")  # noqa: S106


def save_pretrained(folder: Path, *parts: Any, **processor: Any) -> str:
    """Save model, tokenizer … and a CLIP image processor for 32 px; returns the spec."""
    for part in parts:
        part.save_pretrained(folder)
    options = {"size": {"shortest_edge": SIZE}, "crop_size": {"height": SIZE, "width": SIZE}, **processor}
    hf.CLIPImageProcessorPil(**options).save_pretrained(folder)
    return f"local:{folder}"


class BenchDetector(nn.Module):
    """DeepfakeBench's layout: `backbone`, `head`; pooled feature → Linear."""

    def __init__(self, backbone: nn.Module, head: nn.Module | None = None, *, normalize: bool = False):
        super().__init__()
        self.backbone = backbone
        self.head = randomize(nn.Linear(WIDTH, 2), seed=1) if head is None else head
        self.normalize = normalize

    def forward(self, pixels: Tensor) -> Tensor:
        feature = self.backbone(pixels).pooler_output
        return self.head(F.normalize(feature, dim=1) if self.normalize else feature)


class SVDLinear(nn.Module):
    """Effort's residual-SVD linear: the smallest singular directions of a weight are trained apart."""

    def __init__(self, linear: nn.Linear, rank: int = 3):
        super().__init__()
        u, s, v = torch.linalg.svd(linear.weight.data, full_matrices=False)
        kept = len(s) - rank
        self.weight_main = nn.Parameter(u[:, :kept] @ torch.diag(s[:kept]) @ v[:kept])
        self.U_residual = nn.Parameter(u[:, kept:] + 0.1)
        self.S_residual = nn.Parameter(s[kept:] + 0.5)
        self.V_residual = nn.Parameter(v[kept:] - 0.1)
        self.bias = nn.Parameter(linear.bias.data)
        self.register_buffer("S_r", s[:kept])

    def forward(self, x: Tensor) -> Tensor:
        residual = self.U_residual @ torch.diag(self.S_residual) @ self.V_residual
        return F.linear(x, self.weight_main + residual, self.bias)


class EnhancedDetector(nn.Module):
    """clip_enhanced's and GenD's layout: `feature_extractor`, `model.linear`."""

    def __init__(self, extractor: nn.Module, *, normalize: bool = True):
        super().__init__()
        self.feature_extractor = extractor
        self.model = nn.Module()
        self.model.linear = randomize(nn.Linear(WIDTH, 2), seed=1)
        self.normalize = normalize

    def forward(self, pixels: Tensor) -> Tensor:
        feature = self.feature_extractor(pixels)
        feature = feature if isinstance(feature, Tensor) else feature.pooler_output
        return self.model.linear(F.normalize(feature, dim=1) if self.normalize else feature)


class GenDExtractor(nn.Module):
    """GenD's encoders: `vision_model` + `visual_projection` (CLIP) or `backbone` (DINO), CLS feature."""

    def __init__(self, tower: nn.Module):
        super().__init__()
        self.is_clip = isinstance(tower, hf.CLIPVisionModel)
        if self.is_clip:
            self.vision_model = tower
            self.visual_projection = nn.Linear(WIDTH, 24, bias=False)
        else:
            self.backbone = tower

    def forward(self, pixels: Tensor) -> Tensor:
        if self.is_clip:
            return self.vision_model(pixels).pooler_output
        return self.backbone(pixels).last_hidden_state[:, 0]
