"""What a survey's YAML may say: a run of the benchmark's kind that explains many images and perturbs none."""

import json
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from xai.bench.config.schema import (
    BenchmarkConfig,
    ChecksConfig,
    ControlsConfig,
    ProtocolConfig,
)

NOT_ASKED = ("controls", "protocols", "metrics", "checks", "keep_images", "autocast", "precision")
"""Keys of a benchmark that say how maps are scored, which a survey does not do."""
_NO_CONTROLS = ControlsConfig(
    random_seeds=0, center_prior=False, sobel=False, raw_attention=False, greedy_images=0
)


class SurveyConfig(BenchmarkConfig):
    """A survey: what a detector looks at over many images.

    Args:
        name: Title of the run.
        model: See `ModelConfig`.
        data: See `DataConfig`.
        methods: Attribution methods, each under a name of its own.
        target: Class that is explained: `predicted`, `label`, or the name of one of the model's classes.
        frame: What maps are laid over each other in: `face`, one canonical face, to which images whose
            landmarks are known are turned; `crop`, the model's input as it is; `auto`, the face where
            landmarks are known.
        frame_size: Side of the canonical face's maps in cells.
        farthest: How many of the images farthest from the mean of their kind are shown, by method.
        explain: What the methods explain of the class: its margin over the others, or its logit.
        statistics: See `StatisticsConfig`.
        seed: Of everything random.
        batch_size: Most images per forward pass; halved when memory runs out.
        shard_size: Images per work item: what a killed run loses at most.
        device: cpu, cuda, cuda:1, mps …
        dtype: Of the model; null keeps that of the weights.
    """

    run_schema: ClassVar[str] = "xai.survey/1"
    refused_keys: ClassVar[tuple[str, ...]] = NOT_ASKED

    name: str = "survey"
    target: str = "predicted"
    frame: Literal["auto", "face", "crop"] = "auto"
    frame_size: int = Field(default=32, ge=8, le=128)
    farthest: int = Field(default=12, ge=0, le=1000)
    shard_size: int = Field(default=64, gt=0)
    controls: ControlsConfig = _NO_CONTROLS
    protocols: tuple[ProtocolConfig, ...] = ()
    metrics: tuple[str, ...] = ()
    checks: ChecksConfig = ChecksConfig(images=0)
    keep_images: int | None = 0

    @model_validator(mode="before")
    @classmethod
    def _explains_only(cls, value: Any) -> Any:
        said = [key for key in NOT_ASKED if isinstance(value, dict) and key in value]
        if said:
            raise ValueError(
                f"{', '.join(said)}: a survey scores no map; leave it out, or run it with xai benchmark run"
            )
        return value


def survey_json_schema() -> str:
    """The JSON Schema of a survey's YAML, for editors: `configs/survey.schema.json`."""
    schema = SurveyConfig.model_json_schema()
    for key in NOT_ASKED:
        del schema["properties"][key]
    return json.dumps(schema, indent=2) + "\n"
