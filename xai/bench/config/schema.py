"""What a benchmark's YAML may say."""

import json
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from xai.core.explanation import GRID_PATTERN
from xai.data.forgeries import SIDE
from xai.data.forgery import MAX_STRENGTH

Kind = Literal[
    "upsampling",
    "resampling",
    "noise",
    "color",
    "blur",
    "self_blend",
    "splice",
    "copy_move",
    "face_swap",
    "seam",
]
Dtype = Literal["float16", "bfloat16", "float32", "float64"]


MOST = 1_000_000  # of what is listed or drawn before any work: more is a slip of the pen


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Short(_Section):
    """A mapping that may be written as one word: the value of its `main` key."""

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, value: Any) -> Any:
        return {next(iter(cls.model_fields)): value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(core_schema)]}


class ModelConfig(_Short):
    """What is explained, as `xai.load` takes it.

    Args:
        spec: demo, hf:ORG/NAME, local:DIR, timm:NAME, open_clip:NAME/PRETRAINED or a YAML file.
        config: The YAML file, under its own key; instead of `spec`.
        weights: Checkpoint, instead of the one the YAML names.
        labels: Class names in the order of the logits.
        device: Instead of the benchmark's.
        dtype: Instead of the benchmark's.
        prompts: One text per class, for models such as CLIP and SigLIP.
        problem_type: What the logits mean, where the model does not say it.
        grid: Patch grid where the model does not say it: "14x14", or "14x14+1" with the tokens before it.
    """

    spec: str | None = None
    config: Path | None = None
    weights: Path | None = None
    labels: tuple[str, ...] | None = None
    device: str | None = None
    dtype: Dtype | None = None
    prompts: tuple[str, ...] | None = None
    problem_type: Literal["single_label_classification", "multi_label_classification"] | None = None
    grid: str | None = Field(default=None, pattern=GRID_PATTERN)

    @model_validator(mode="after")
    def _one_source(self) -> "ModelConfig":
        if (self.spec is None) == (self.config is None):
            raise ValueError("name the model by exactly one of spec and config")
        return self


class ForgeriesConfig(_Section):
    """Photographs forged here, so that the forged region is known exactly.

    Args:
        photos: "shipped", or a folder of photographs.
        count: How many forgeries.
        kinds: Kinds of forgery, which take turns.
        pristine: Whether the photographs themselves are in the data too.
        seed: Of the forgeries.
        size: Side of the crops in pixels.
        strength: How plain the traces are; above 1 a detector finds them sooner.
    """

    photos: str = "shipped"
    count: int = Field(default=200, gt=0, le=MOST)
    kinds: tuple[Kind, ...] = Field(default=("upsampling", "noise"), min_length=1)
    pristine: bool = False
    seed: int = 0
    size: int = Field(default=SIDE, ge=32)
    strength: float = Field(default=1.0, gt=0, le=MAX_STRENGTH)


class DataConfig(_Section):
    """Which images; exactly one of the first four.

    Args:
        images: Files, folders and globs.
        manifest: CSV or Parquet table with the columns path, label, mask, group, kind, landmarks, clicks.
        shards: Files of many images: WebDataset `.tar`, and `.parquet` with the bytes in the column image;
            paths, folders, globs and URLs, in which `{000..123}` stands for each number.
        forgeries: See `ForgeriesConfig`.
        limit: At most so many images, the first ones.
    """

    images: tuple[str, ...] | None = Field(default=None, min_length=1)
    manifest: Path | None = None
    shards: tuple[str, ...] | None = Field(default=None, min_length=1)
    forgeries: ForgeriesConfig | None = None
    limit: int | None = Field(default=None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _one_pattern(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return value | {key: [value[key]] for key in ("images", "shards") if isinstance(value.get(key), str)}

    @model_validator(mode="after")
    def _one_source(self) -> "DataConfig":
        sources = self.images, self.manifest, self.shards, self.forgeries
        if sum(one is not None for one in sources) != 1:
            raise ValueError("say exactly one of images, manifest, shards and forgeries")
        return self


class MethodConfig(_Short):
    """An attribution method, or one word: its registry name, or a preset's.

    Args:
        method: Registry name, the name of a preset (xai methods), or code of your own as
            `package.module:Class`, which needs --trust-code.
        name: That tables use; default the same.
        options: The method's own.
    """

    method: str
    name: str = Field(default="", pattern=r"^[\w.+-]*$")
    options: dict[str, Any] = {}

    @property
    def full_name(self) -> str:
        """What tables call it."""
        return self.name or self.method


class ControlsConfig(_Section):
    """Maps that every method must beat, or that show what could be reached.

    Args:
        random_seeds: How many random maps per image; their mean is the method `random`.
        center_prior: A Gaussian at the centre.
        sobel: Edges of the image.
        raw_attention: Attention of the last layer.
        greedy_images: Of so many images a greedy order of occlusion: a strong reference, not a bound.
    """

    random_seeds: int = Field(default=3, ge=0, le=1000)
    center_prior: bool = True
    sobel: bool = True
    raw_attention: bool = True
    greedy_images: int = Field(default=10, ge=0)


class ProtocolConfig(_Short):
    """A preset, or a preset with changes, which becomes another protocol with a hash of its own.

    Args:
        base: Name of the preset.
        name: Of the changed protocol; default the base and what was changed.
        unit: "patch", "pixel" or "segment".
        operator: How evidence is removed: a name or `package.module:Class`, or a mapping with `name` and the
            operator's parameters.
        insertion_operator: What insertion starts from, if not the same.
        steps: How many steps; excludes step_units and fractions.
        step_units: How many units a step; "W", "8W": widths of the grid.
        fractions: Shares of units removed.
        ends: Whether both end points are in the curve.
        ties: "random" or "stable".
        tie_draws: How often tied orders are drawn.
        sign: "signed", "absolute" or "positive".
        upsampling: "nearest" or "bilinear", for pixels.
        value: "margin", "probability", "logit" or "accuracy".
        target: "predicted" or "label".
        auc: How the area is taken.
        floor: Range under which a curve ranks nothing.
        segments: How images are divided: "slic" or "cells", or a mapping with `name` and its parameters.
        images: "all", or "correct": only those whose class the model gives.
    """

    base: str
    name: str = Field(default="", pattern=r"^\S*$")
    unit: Literal["patch", "pixel", "segment"] | None = None
    operator: Any = None
    insertion_operator: Any = None
    steps: int | None = Field(default=None, gt=0, le=MOST)
    step_units: Any = None
    fractions: tuple[float, ...] | None = None
    ends: bool | None = None
    ties: Literal["random", "stable"] | None = None
    tie_draws: int | None = Field(default=None, gt=0, le=1000)
    sign: Literal["signed", "absolute", "positive"] | None = None
    upsampling: Literal["nearest", "bilinear"] | None = None
    value: Literal["margin", "probability", "logit", "accuracy"] | None = None
    target: Literal["predicted", "label"] | None = None
    auc: Literal["trapezoid", "uniform", "mean", "unnormalised"] | None = None
    floor: float | None = Field(default=None, ge=0)
    segments: Any = None
    images: Literal["all", "correct"] | None = None

    @property
    def changes(self) -> dict[str, Any]:
        """What is given beside the base and the name."""
        return {key: getattr(self, key) for key in sorted(self.model_fields_set - {"base", "name"})}


class ChecksConfig(_Section):
    """Costly tests, on the first images only.

    Args:
        metrics: infidelity, sensitivity_max, class_sensitivity, randomization, robustness_jpeg,
            robustness_resize, robustness_noise, unrelated_agreement.
        images: How many images.
    """

    metrics: tuple[str, ...] = ()
    images: int = Field(default=10, ge=0)


class StatisticsConfig(_Section):
    """How the summary is computed; may be changed on a finished run.

    Args:
        resamples: Of the bootstrap.
        alpha: Level of the tests.
    """

    resamples: int = Field(default=9999, ge=99, le=MOST)
    alpha: float = Field(default=0.05, ge=1e-6, lt=0.5)


class BenchmarkConfig(_Section):
    """A benchmark: model, data, methods, protocols, metrics.

    Args:
        name: Title of the run.
        model: See `ModelConfig`.
        data: See `DataConfig`.
        methods: Attribution methods, each under a name of its own.
        controls: See `ControlsConfig`.
        protocols: How evidence is removed and the answer read.
        metrics: Computed under every protocol, or once where they look at the map alone; names, or
            `package.module:function`.
        checks: See `ChecksConfig`.
        explain: What the methods explain, for the protocol's class: its margin over the others, or its logit.
        statistics: See `StatisticsConfig`.
        seed: Of everything random.
        batch_size: Most images per forward pass; halved when memory runs out.
        shard_size: Images per work item: what a killed run loses at most.
        keep_images: Of so many images, the first ones, maps and pictures are kept for the page; null for all.
        device: cpu, cuda, cuda:1, mps …
        dtype: Of the model; null keeps that of the weights.
        autocast: Type in which matrix products of the perturbed forwards run; null for the model's own. Its
            error is not measured: see `precision`.
        precision: Of the perturbed forwards: float32; bfloat16, with its error measured on images of the run
            and allowed for in what is told apart; auto, bfloat16 where that is faster.
    """

    run_schema: ClassVar[str] = "xai.benchmark/1"
    """Of the run's file."""

    name: str = "benchmark"
    model: ModelConfig = ModelConfig(spec="demo")
    data: DataConfig
    methods: tuple[MethodConfig, ...] = Field(min_length=1)
    controls: ControlsConfig = ControlsConfig()
    protocols: tuple[ProtocolConfig, ...] = Field(default=(ProtocolConfig(base="vit-token"),), min_length=1)
    metrics: tuple[str, ...] = Field(default=("srg", "deletion", "insertion", "saco"), min_length=1)
    checks: ChecksConfig = ChecksConfig()
    explain: Literal["margin", "logit"] = "margin"
    statistics: StatisticsConfig = StatisticsConfig()
    seed: int = 0
    batch_size: int = Field(default=32, gt=0)
    shard_size: int = Field(default=16, gt=0)
    keep_images: int | None = Field(default=None, ge=0)
    device: str | None = None
    dtype: Dtype | None = None
    autocast: Literal["float16", "bfloat16"] | None = None
    precision: Literal["float32", "bfloat16", "auto"] = "float32"

    _folder: Path | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path | None:
        """Of the file that it was read from: code that it names may lie there."""
        return self._folder

    def of_folder(self, folder: Path) -> Self:
        """The same as if it had been read from a file of this folder."""
        copied = self.model_copy()
        copied._folder = folder
        return copied

    @property
    def stream_dtype(self) -> str | None:
        """Type in which matrix products of the perturbed forwards run; None for the model's own."""
        return "bfloat16" if self.precision == "bfloat16" else self.autocast

    @model_validator(mode="after")
    def _one_device(self) -> "BenchmarkConfig":
        for key in ("device", "dtype"):
            if getattr(self, key) and getattr(self.model, key) not in (None, getattr(self, key)):
                raise ValueError(f"{key} is said twice, here and under model; keep one")
        if self.precision != "float32" and self.autocast is not None:
            raise ValueError("autocast and precision say the same; keep precision, whose error is measured")
        return self


def json_schema() -> str:
    """The JSON Schema of a benchmark's YAML, for editors: `configs/benchmark.schema.json`."""
    return json.dumps(BenchmarkConfig.model_json_schema(), indent=2) + "\n"
