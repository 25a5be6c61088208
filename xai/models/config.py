"""The YAML file that describes a detector: our keys, and the training keys of DeepfakeBench beside them."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from xai.core.files import expanded
from xai.core.grid import GRID_PATTERN
from xai.core.yaml_models import read_model

Family = Literal["clip", "effort", "clip_enhanced", "gend", "universalfakedetect"]

# Keys of the bench's own files that say how the model was trained or tested, not what it is.
# They may stay in the file; nothing here reads them.
# fmt: off
TRAINING_KEYS = frozenset({
    "all_dataset", "backbone_config", "backbone_name", "compression", "cuda", "cudnn", "data_aug",
    "dataset_json_folder", "dataset_root_rgb", "dataset_type", "ddp", "device", "dry_run", "early_stop",
    "frame_num", "label_dict", "lmdb", "lmdb_dir", "local_rank", "log_dir", "logdir", "loss_func",
    "losstype", "lr_eta_min", "lr_gamma", "lr_scheduler", "lr_step", "lr_T_max", "manualSeed",
    "metric_scoring", "mlp_layer", "mode", "n_ctx", "nEpochs", "ngpu", "optimizer", "pretrained",
    "rec_iter", "save_avg", "save_ckpt", "save_epoch", "save_feat", "start_epoch", "SWA", "task_target",
    "test_batchSize", "test_dataset", "train_batchSize", "train_dataset", "use_data_augmentation",
    "video_mode", "with_landmark", "with_mask", "with_xray", "workers",
})
# fmt: on


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
        grid: Patch grid where the model does not say it: "14x14", or "14x14+1" with the tokens before it.
        ignore_keys: Beginnings of weight names that are not part of the forward pass (training heads …).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_name: Family | None = None
    weights: Path | None = None
    weights_key: str | None = Field(default=None, min_length=1)
    labels: tuple[str, ...] = ("real", "fake")
    problem_type: (
        Literal["single_label_classification", "multi_label_classification", "regression"] | None
    ) = None
    factory: str | None = Field(default=None, pattern=r"^[\w.]+:[\w.]+$")
    kwargs: dict[str, Any] = {}
    backbone: Any = None  # clip_enhanced files hold other things under this key
    clip_path: Path | None = None
    resolution: int | None = Field(default=None, gt=0)
    resize: Literal["square", "shortest_edge", "none"] | None = None
    resize_to: int | None = Field(default=None, gt=0)
    crop: Literal["center", "none"] | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    normalize_features: bool | None = None
    head: Literal["linear", "LinearNorm"] | None = None
    head_activation: str | None = None
    num_attention_heads: int | None = Field(default=None, gt=0)
    hidden_act: str | None = None
    grid: str | None = Field(default=None, pattern=GRID_PATTERN)
    ignore_keys: tuple[str, ...] = ()


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
        for name in ("weights", "clip_path")
        if (value := getattr(config, name)) is not None
    }
    source, _, tower = str(config.backbone).partition(":")
    if source == "local" and tower:
        places["backbone"] = f"local:{path.parent / expanded(tower)}"
    return config.model_copy(update=places), list(file.unread)
