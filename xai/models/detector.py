"""A detector as people publish them: what its YAML file says; a vision tower, one feature of it, a head."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import torch.nn.functional as F
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from torch import Tensor, nn

from xai.core import ConfigError, ModelError, nearest
from xai.core.explanation import GRID_PATTERN
from xai.core.files import expanded
from xai.core.yaml_models import read_model
from xai.models.adapter_settings import AdapterSettings
from xai.models.checkpoint import State

# fmt: off
ModelName = Literal[
    "clip", "effort", "clip_enhanced", "gend", "universalfakedetect", "c2p_clip", "community_forensics",
    "rine", "uia_vit", "xception", "efficientnetb4", "b_free", "fatformer", "spai", "d3", "tall",
    "timetransformer", "videomae", "xclip",
]
# fmt: on

# Keys of the bench's own files that say how the model was trained or tested, not what it is.
# They may stay in the file; nothing here reads them.
# fmt: off
TRAINING_KEYS = frozenset({
    "all_dataset", "backbone_name", "compression", "cuda", "cudnn", "data_aug",
    "dataset_json_folder", "dataset_root_rgb", "dataset_type", "ddp", "device", "dry_run", "early_stop",
    "frame_num", "label_dict", "lmdb", "lmdb_dir", "local_rank", "log_dir", "logdir", "loss_func",
    "losstype", "lr_eta_min", "lr_gamma", "lr_scheduler", "lr_step", "lr_T_max", "manualSeed",
    "metric_scoring", "mlp_layer", "mode", "n_ctx", "nEpochs", "ngpu", "optimizer", "pretrained",
    "rec_iter", "save_avg", "save_ckpt", "save_epoch", "save_feat", "start_epoch", "SWA", "task_target",
    "test_batchSize", "test_dataset", "train_batchSize", "train_dataset", "use_data_augmentation",
    "video_mode", "with_landmark", "with_mask", "with_xray", "workers",
})
# fmt: on
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "leaky_relu": nn.LeakyReLU,
}


def _of_unit(value: float) -> float:
    """Pixels are scaled to [0, 1] first, so a larger number is that of pixels from 0 to 255."""
    if abs(value) > _LARGEST:
        raise ValueError(
            f"is of pixels in [0, 1], so {value:g} is too large: is it of 0 to 255? Divide by 255"
        )
    return value


_LARGEST = 2  # of a mean or deviation in [0, 1], with room for odd ones
_Mean = Annotated[float, AfterValidator(_of_unit)]
_Deviation = Annotated[float, Field(gt=0), AfterValidator(_of_unit)]


class DetectorConfig(BaseModel):
    """What a detector's YAML may say. Everything that the weights say themselves is left out.

    Args:
        model_name: Family, checked against the one that the keys of the weights show.
        weights: Checkpoint, relative to the YAML file.
        weights_key: Dotted path to the weights inside the checkpoint, such as state_dict_ema; default by the
            rules of docs/weights.md.
        labels: Class names in the order of the logits.
        problem_type: "single_label_classification" (softmax; the default) or "multi_label_classification"
            (a sigmoid for each label), as in transformers; "regression" is refused.
        factory: "package.module:Class" of a detector of your own; called with `kwargs`,
            where the one who loads it trusts that code.
        kwargs: Arguments of the factory.
        backbone: "hf:ORG/NAME" or "local:DIR" of the tower, DIR relative to the YAML file; read only where
            the weights hold a head alone.
        backbone_config: DeepfakeBench's; of it `mode` is read, and refused where it is no "original".
        clip_path: Folder with the CLIP tokenizer, for the prompt variant of clip_enhanced.
        resolution: Side of the square input; default the one the tower was trained at.
        resize: "square" (aspect lost), "shortest_edge" or "none".
        resize_to: Length for `resize`; default `resolution`.
        crop: "center" or "none".
        interpolation: PIL filter of the resize.
        mean: Subtracted per channel from pixels in [0, 1].
        std: Divided by after that.
        normalize_features: Whether the head reads the L2-normalised feature.
        head: GenD's own word for the same: "linear" or "LinearNorm".
        head_activation: Activation between the layers of an MLP head.
        num_attention_heads: Default width / 64.
        hidden_act: Activation of the tower's MLPs; default quick_gelu (CLIP), gelu (DINO).
        faces: "aligned" where it was trained on faces that were cut out and turned upright as DeepfakeBench
            does: `xai explain` then does the same with photographs.
        grid: Patch grid where the model does not say it: "14x14", or "14x14+1" with the tokens before it.
        ignore_keys: Beginnings of weight names that are not part of the forward pass (training heads …).
        adapter: What the weights do not say of PEFT adapters in them, by the keys of `adapter_config.json`
            (lora_alpha …), or that file; or the folder of an adapter that goes on the weights, relative to
            the YAML file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_name: ModelName | None = None
    weights: Path | None = None
    weights_key: str | None = Field(default=None, min_length=1)
    labels: tuple[str, ...] = ("real", "fake")
    problem_type: (
        Literal["single_label_classification", "multi_label_classification", "regression"] | None
    ) = None
    factory: str | None = Field(default=None, pattern=r"^[\w.]+:[\w.]+$")
    kwargs: dict[str, Any] = {}
    backbone: Any = None  # clip_enhanced files hold other things under this key
    backbone_config: Any = None
    clip_path: Path | None = None
    resolution: int | None = Field(default=None, gt=0)
    resize: Literal["square", "shortest_edge", "none"] | None = None
    resize_to: int | None = Field(default=None, gt=0)
    crop: Literal["center", "none"] | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None
    mean: tuple[_Mean, _Mean, _Mean] | None = None
    std: tuple[_Deviation, _Deviation, _Deviation] | None = None
    normalize_features: bool | None = None
    head: Literal["linear", "LinearNorm"] | None = None
    head_activation: str | None = None
    num_attention_heads: int | None = Field(default=None, gt=0)
    hidden_act: str | None = None
    faces: Literal["aligned"] | None = None
    grid: str | None = Field(default=None, pattern=GRID_PATTERN)
    ignore_keys: tuple[str, ...] = ()
    adapter: AdapterSettings | Path | None = None


def read_config(path: Path) -> tuple[DetectorConfig, list[str]]:
    """Read and check a detector's YAML file; relative paths in it are taken from the file's folder.

    Returns:
        The configuration, and the training keys of the file that were not read.

    Raises:
        ConfigError: When the file is missing, no YAML mapping, or holds an unknown key or a wrong value;
            says file:line and the nearest valid key.
    """
    config, file = read_model(
        path, DetectorConfig, "configuration file", "Copy one of the files in configs/.", TRAINING_KEYS
    )
    places: dict[str, Any] = {
        name: path.parent / expanded(value)
        for name in ("weights", "clip_path", "adapter")
        if isinstance(value := getattr(config, name), Path)
    }
    source, _, tower = str(config.backbone).partition(":")
    if source == "local" and tower:
        places["backbone"] = f"local:{path.parent / expanded(tower)}"
    return config.model_copy(update=places), list(file.unread)


class Detector(nn.Module):
    """Tower → feature → head.

    Args:
        tower: A transformers vision model.
        head: Feature (B, d) → logits (B, classes).
        feature: "pooled" (`pooler_output`), "every_layer" (the same where it holds each layer's class token),
            "cls" (first token of the last hidden state) or "projected" (`image_embeds`).
        normalize: Whether the head reads the feature at unit L2 length.
    """

    def __init__(
        self,
        tower: nn.Module,
        head: nn.Module,
        feature: Literal["pooled", "every_layer", "cls", "projected"],
        *,
        normalize: bool = False,
    ):
        super().__init__()
        self.tower = tower
        self.head = head
        self.feature = feature
        self.normalize = normalize

    @property
    def classes(self) -> int:
        """How many logits it answers with."""
        last = [m for m in self.head.modules() if isinstance(m, nn.Linear | TextSimilarity)][-1]
        return last.out_features if isinstance(last, nn.Linear) else len(last.texts)

    def extra_repr(self) -> str:
        """What the parts do not show."""
        return f"feature={self.feature}, normalize={self.normalize}"

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, classes)."""
        output = self.tower(pixel_values=pixels)
        if self.feature == "cls":
            feature = output.last_hidden_state[:, 0]
        else:
            feature = output.image_embeds if self.feature == "projected" else output.pooler_output
        return self.head(F.normalize(feature, dim=-1) if self.normalize else feature)


class TextSimilarity(nn.Module):
    """Head whose classes are texts: cosine between the image's feature and each text's, scaled and shifted.

    Args:
        texts: (classes, d) text features of unit length.
        scale: Factor of the cosine.
        bias: Added to it.
    """

    texts: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, texts: Tensor, scale: Tensor, bias: Tensor):
        super().__init__()
        self.register_buffer("texts", texts)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)

    def forward(self, feature: Tensor) -> Tensor:
        """(B, d) → (B, classes)."""
        return F.normalize(feature, dim=-1) @ self.texts.T * self.scale + self.bias


def build_head(state: State, width: int, activation: str | None = None) -> nn.Module:
    """A Linear (`weight`, `bias`) or an MLP (`0.weight`, `2.weight` …) with these weights, in eval mode.

    A gap in the MLP's numbering is an activation (and dropout, idle here); which one is not in the weights.

    Args:
        state: Keys without the head's own prefix.
        width: Of the feature that it reads.
        activation: One of ACTIVATIONS, for an MLP.

    Raises:
        ConfigError: When an activation is needed and not given, or unknown.
        ModelError: When the head is neither Linear nor an MLP of Linears, or reads another width.
    """
    if state.keys() <= {"weight", "bias"} and "weight" in state and state["weight"].ndim == 2:
        return _linear(state, width)
    layers: dict[int, State] = {}
    for key, value in state.items():
        match = re.fullmatch(r"(0|[1-9]\d{0,3})\.(weight|bias)", key)
        if match is None or value.ndim != (2 if match[2] == "weight" else 1):
            raise ModelError(
                f"The head is more than Linear layers: {key} {tuple(value.shape)}.",
                'Load the detector with factory: "package.module:Class" in the YAML.',
            )
        layers.setdefault(int(match[1]), {})[match[2]] = value
    if not layers:
        raise ModelError("The checkpoint has no classification head.")
    modules: list[nn.Module] = []
    last = None
    for index, weights in sorted(layers.items()):
        if "weight" not in weights:
            raise ModelError(f"Layer {index} of the head has no weight.")
        if last is not None and index > last + 1:
            modules.append(_activation(activation))
        modules.append(linear := _linear(weights, width))
        last, width = index, linear.out_features
    return nn.Sequential(*modules).eval()


def _linear(state: State, width: int) -> nn.Linear:
    outputs, inputs = state["weight"].shape
    if outputs == 0 or ("bias" in state and state["bias"].shape != (outputs,)):
        shapes = ", ".join(f"{key} {tuple(value.shape)}" for key, value in sorted(state.items()))
        raise ModelError(
            f"The head is no Linear layer: {shapes}.", "The checkpoint is broken; use another one."
        )
    if inputs != width:
        raise ModelError(f"The head reads {inputs} features; the tower or the layer before gives {width}.")
    linear = nn.Linear(inputs, outputs, bias="bias" in state, dtype=state["weight"].dtype)
    linear.load_state_dict(state)
    return linear.eval()


def _activation(name: str | None) -> nn.Module:
    if name is None:
        raise ConfigError(
            "The head is an MLP, and which activation stands between its layers is not in the weights.",
            f"Say it in the YAML: head_activation: one of {', '.join(ACTIVATIONS)}.",
        )
    if name not in ACTIVATIONS:
        raise ConfigError(f"Unknown head_activation {name!r}.", nearest(name, ACTIVATIONS))
    return ACTIVATIONS[name]()
