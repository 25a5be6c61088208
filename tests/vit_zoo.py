"""Tiny vision transformers of every family, random weights, pixels in and logits out."""

from collections.abc import Callable

import torch
import transformers as hf
from torch import Tensor, nn

SIZE, PATCH, LAYERS, HEADS, WIDTH, CLASSES = 32, 8, 6, 4, 32, 3
COMMON = {
    "hidden_size": WIDTH,
    "intermediate_size": 64,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "image_size": SIZE,
    "patch_size": PATCH,
}
LABELS = {"id2label": {i: f"class {i}" for i in range(CLASSES)}}


class Logits(nn.Module):
    """A transformers model called with pixels only, plus an optional bias as a further argument."""

    def __init__(self, model: nn.Module, head: nn.Module | None = None):
        super().__init__()
        self.model, self.head = model, head

    def forward(self, pixels: Tensor, bias: Tensor | None = None) -> Tensor:
        output = self.model(pixel_values=pixels)
        logits = output.logits if self.head is None else self.head(output.pooler_output)
        return logits if bias is None else logits + bias


class PlainViT(nn.Module):
    """torch's own encoder layers (nn.MultiheadAttention), as in torchvision."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_size = PATCH
        self.conv_proj = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.class_token = nn.Parameter(torch.randn(1, 1, WIDTH))
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, pixels: Tensor) -> Tensor:
        tokens = self.conv_proj(pixels).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(pixels), -1, -1), tokens], dim=1)
        return self.head(self.encoder(tokens)[:, 0])


def _tower(model: nn.Module) -> Logits:
    return Logits(model, nn.Linear(WIDTH, CLASSES))


ZOO: dict[str, Callable[[], nn.Module]] = {
    "clip": lambda: _tower(hf.CLIPVisionModel(hf.CLIPVisionConfig(**COMMON))),
    "clip_mean_pooled": lambda: Logits(
        hf.CLIPForImageClassification(
            hf.CLIPConfig(vision_config=COMMON, text_config={"hidden_size": 32}, **LABELS)
        )
    ),
    "vit": lambda: Logits(hf.ViTForImageClassification(hf.ViTConfig(**COMMON, **LABELS))),
    "deit": lambda: Logits(hf.DeiTForImageClassification(hf.DeiTConfig(**COMMON, **LABELS))),
    "dinov2": lambda: Logits(
        hf.Dinov2ForImageClassification(hf.Dinov2Config(mlp_ratio=2, **{**COMMON, **LABELS}))
    ),
    "dinov2_registers": lambda: Logits(
        hf.Dinov2WithRegistersForImageClassification(
            hf.Dinov2WithRegistersConfig(mlp_ratio=2, num_register_tokens=4, **{**COMMON, **LABELS})
        )
    ),
    "dinov3": lambda: _tower(hf.DINOv3ViTModel(hf.DINOv3ViTConfig(num_register_tokens=4, **COMMON))),
    "siglip": lambda: Logits(
        hf.SiglipForImageClassification(
            hf.SiglipConfig(vision_config=COMMON, text_config={"hidden_size": 32}, **LABELS)
        )
    ),
    "siglip_pooling_head": lambda: _tower(hf.SiglipVisionModel(hf.SiglipVisionConfig(**COMMON))),
    "beit": lambda: Logits(
        hf.BeitForImageClassification(hf.BeitConfig(use_relative_position_bias=True, **COMMON, **LABELS))
    ),
    "torch_encoder": PlainViT,
}
HUGGING_FACE = [name for name in ZOO if name not in ("siglip_pooling_head", "torch_encoder")]


def build(name: str) -> nn.Module:
    """A model of the zoo in evaluation mode, its weights large enough for attention to be uneven."""
    torch.manual_seed(0)
    model = ZOO[name]().eval()
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "norm" not in parameter_name and "lambda" not in parameter_name:
                nn.init.normal_(parameter, std=0.2)
    return model


def pixels(batch: int = 2, height: int = SIZE, width: int = SIZE, seed: int = 1) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))
