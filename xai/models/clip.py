"""The vision tower of CLIP (Radford et al. 2021, arXiv 2103.00020) in plain torch.

transformers has one that gives the same numbers, but importing it takes longer than explaining an image, and
a detector rebuilt from its weights needs nothing else of it. Names of modules, weights and configuration are
those of transformers, so a detector has the same fingerprint as if its tower had been built there.
"""

import re
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai.core import ModelError
from xai.models.checkpoint import State
from xai.models.tower import (
    TowerOptions,
    activation,
    filled,
    layers_of,
    patch_of,
    shape_of,
    side_of,
    widths_of,
)

_EPS = 1e-5  # of every layer norm
_WRAPPER = "vision_model."  # stands before all names that older versions of transformers wrote
# what transformers says in every configuration, though such a tower has no use for it
_BEFORE = {
    "output_hidden_states": False,
    "return_dict": True,
    "chunk_size_feed_forward": 0,
    "is_encoder_decoder": False,
    "id2label": {0: "LABEL_0", 1: "LABEL_1"},
    "label2id": {"LABEL_0": 0, "LABEL_1": 1},
    "problem_type": None,
}
_AFTER = {
    "layer_norm_eps": _EPS,
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
    "initializer_factor": 1.0,
    "model_type": "clip_vision_model",
    "output_attentions": False,
}


@dataclass(frozen=True, kw_only=True)
class CLIPVisionConfig:
    """Sizes of a tower, by the names of transformers and in its order."""

    model_type: ClassVar[str] = "clip_vision_model"

    hidden_size: int
    intermediate_size: int
    projection_dim: int = 512
    num_hidden_layers: int
    num_attention_heads: int
    num_channels: int = 3
    image_size: int
    patch_size: int
    hidden_act: str

    def to_dict(self) -> dict[str, Any]:
        """What transformers' configuration of this tower says: a part of the fingerprint."""
        return {**_BEFORE, **asdict(self), **_AFTER}


class CLIPVisionOutput(NamedTuple):
    """All tokens (B, 1 + patches, width) after the last layer; the class token (B, width), normalised."""

    last_hidden_state: Tensor
    pooler_output: Tensor


class CLIPVisionModel(nn.Module):
    """Pixels (B, 3, H, W) → tokens: patches and a class token, a layer norm, layers of attention and MLP."""

    def __init__(self, config: CLIPVisionConfig):
        super().__init__()
        self.config = config
        self.embeddings = CLIPVisionEmbeddings(config)
        self.pre_layrnorm = nn.LayerNorm(config.hidden_size, eps=_EPS)  # spelt as in published weights
        self.encoder = CLIPEncoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=_EPS)

    def forward(self, pixel_values: Tensor) -> CLIPVisionOutput:
        """Raises: ValueError: The image has another size than the tower was trained at."""
        tokens = self.encoder(self.pre_layrnorm(self.embeddings(pixel_values)))
        return CLIPVisionOutput(tokens, self.post_layernorm(tokens[:, 0]))


class CLIPVisionEmbeddings(nn.Module):
    """The class token and one token per patch, each with its position."""

    def __init__(self, config: CLIPVisionConfig):
        super().__init__()
        width, self.image_size, patch = config.hidden_size, config.image_size, config.patch_size
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.patch_embedding = nn.Conv2d(config.num_channels, width, patch, patch, bias=False)
        # of zeros: to draw them at random on the meta device imports torch._dynamo, which takes a second
        positions = torch.zeros(1 + (self.image_size // patch) ** 2, width)
        self.position_embedding = nn.Embedding.from_pretrained(positions, freeze=False)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, 1 + patches, width)."""
        if pixel_values.shape[-2:] != (self.image_size, self.image_size):
            height, width = pixel_values.shape[-2:]
            raise ValueError(f"{height}×{width} pixels; {self.image_size}×{self.image_size} are expected.")
        patches = self.patch_embedding(pixel_values).flatten(2).transpose(1, 2)
        classes = self.class_embedding.expand(len(patches), 1, -1)
        return torch.cat([classes, patches], dim=1) + self.position_embedding.weight


class CLIPEncoder(nn.Module):
    """The layers, one after the other."""

    def __init__(self, config: CLIPVisionConfig):
        super().__init__()
        self.layers = nn.ModuleList(CLIPEncoderLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width), the same shape out."""
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens


class CLIPEncoderLayer(nn.Module):
    """x + attention(norm(x)), and of that y + MLP(norm(y))."""

    def __init__(self, config: CLIPVisionConfig):
        super().__init__()
        self.self_attn = CLIPAttention(config)
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=_EPS)
        self.mlp = CLIPMLP(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=_EPS)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width), the same shape out."""
        tokens = tokens + self.self_attn(self.layer_norm1(tokens))
        return tokens + self.mlp(self.layer_norm2(tokens))


class CLIPAttention(nn.Module):
    """Fused attention of several heads."""

    def __init__(self, config: CLIPVisionConfig):
        super().__init__()
        width, self.heads = config.hidden_size, config.num_attention_heads
        self.scale = (width // self.heads) ** -0.5
        self.k_proj, self.v_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.q_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width), the same shape out."""
        query, key, value = (
            projection(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        output = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        return self.out_proj(output.transpose(1, 2).flatten(2))


class CLIPMLP(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, config: CLIPVisionConfig):
        super().__init__()
        self.activation_fn = activation(config.hidden_act)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width), the same shape out."""
        return self.fc2(self.activation_fn(self.fc1(tokens)))


class ProjectedOutput(NamedTuple):
    """The class token (B, projection_dim), normalised and projected."""

    image_embeds: Tensor


class ProjectedCLIP(nn.Module):
    """A tower and the projection of its pooled feature, as CLIP compares it with texts.

    Args:
        vision_model: The tower.
        projection: (projection_dim, width) weight of the projection; None where the checkpoint lacks it.

    Raises:
        ModelError: The projection is missing, or reads another width.
    """

    def __init__(self, vision_model: CLIPVisionModel, projection: Tensor | None):
        super().__init__()
        width = vision_model.config.hidden_size
        if projection is None or projection.ndim != 2 or projection.shape[1] != width:
            shape = "missing" if projection is None else f"of shape {tuple(projection.shape)}"
            raise ModelError(f"The projection of the CLIP tower is {shape}; expected (features, {width}).")
        self.config = replace(vision_model.config, projection_dim=len(projection))
        self.vision_model = vision_model
        self.visual_projection = nn.Linear(
            width, len(projection), bias=False, device=projection.device, dtype=projection.dtype
        )
        self.visual_projection.load_state_dict({"weight": projection})

    def forward(self, pixel_values: Tensor) -> ProjectedOutput:
        """Raises: ValueError: The image has another size than the tower was trained at."""
        return ProjectedOutput(self.visual_projection(self.vision_model(pixel_values).pooler_output))


def build_clip_tower(
    state: State, options: TowerOptions, kind: type[CLIPVisionModel] = CLIPVisionModel
) -> CLIPVisionModel:
    """The tower with these weights, in their type and in eval mode.

    Args:
        state: Named as transformers names them, in any version.
        options: What shapes cannot say.
        kind: A class of the same weights.

    Raises:
        ModelError: When keys are missing, left over or of the wrong shape.
    """
    with torch.device("meta"):  # the memory is that of the weights
        model = kind(read_clip_config(state, options))
    before = _WRAPPER if f"{_WRAPPER}embeddings.class_embedding" in state else ""
    return filled(model, state, "a CLIPVisionModel", before)


def read_clip_config(state: State, options: TowerOptions) -> CLIPVisionConfig:
    """The configuration of a CLIP vision tower, read from the shapes of its weights."""
    width, patch = patch_of(state, "embeddings.patch_embedding.weight")
    positions = shape_of(state, "embeddings.position_embedding.weight")[0] - 1
    return CLIPVisionConfig(
        patch_size=patch,
        image_size=side_of(positions) * patch,
        num_hidden_layers=layers_of(state),
        hidden_act=options.hidden_act or "quick_gelu",
        **widths_of(state, width, options),
    )


# OpenAI's names of what lies in a block, and outside of the blocks, beside those of transformers
_OPENAI_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_OPENAI = {
    "conv1.weight": "embeddings.patch_embedding.weight",
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_pre.weight": "pre_layrnorm.weight",
    "ln_pre.bias": "pre_layrnorm.bias",
    "ln_post.weight": "post_layernorm.weight",
    "ln_post.bias": "post_layernorm.bias",
}


def from_openai(state: State) -> tuple[State, Tensor | None]:
    """The weights of an image tower of OpenAI's CLIP, or open_clip's, under transformers' names.

    Names that are none of theirs stay, so that whoever builds the tower says them.

    Args:
        state: Names without `visual.`.

    Returns:
        The tower, and the (features, width) weight of the projection, None where it is not there.
    """
    renamed: State = {}
    projection = None
    for name, tensor in state.items():
        block = re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+)\.(\w+)", name)
        packed = re.fullmatch(r"transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)", name)
        if name == "proj":
            projection = tensor.T.contiguous()
        elif packed and len(tensor) % 3 == 0:
            for part, share in zip("qkv", tensor.chunk(3), strict=True):
                renamed[f"encoder.layers.{packed[1]}.self_attn.{part}_proj.{packed[2]}"] = share
        elif block and block[2] in _OPENAI_BLOCK:
            renamed[f"encoder.layers.{block[1]}.{_OPENAI_BLOCK[block[2]]}.{block[3]}"] = tensor
        else:
            renamed[_OPENAI.get(name, name)] = tensor
    return renamed, projection
