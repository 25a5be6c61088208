"""What a page holds, as data: the JSON that the page embeds and that `xai report --data-only` writes.

The models are the documentation of the format; docs/report.md tells the story, `json_schema` the rest.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    WithJsonSchema,
)

from xai.core import ProblemType
from xai.core.language import Language
from xai.report.image_payload import Image, PageModel
from xai.stats import Summary

SCHEMA = "xai.report/1"

Kind = Literal["explanation", "comparison", "benchmark"]


def _summary(content: Any) -> Any:
    """A summary, also from JSON."""
    return Summary.from_dict(content) if isinstance(content, Mapping) else content


TypedSummary = Annotated[
    InstanceOf[Summary],
    BeforeValidator(_summary),
    PlainSerializer(Summary.as_dict, return_type=dict[str, Any]),
    WithJsonSchema({"additionalProperties": True, "type": "object"}),
]


class Fusion(PageModel):
    """How the map of one row is fused from its `Stack`: heads first, then layers."""

    row: str
    layers: list[int] = Field(description="Indices of the layers fused, from 0.")
    presets: dict[str, list[int]] = Field(description="Named choices of layers that fit the model's depth.")
    head_fusion: Literal["mean", "max", "min", "sum"]
    layer_fusion: Literal["mean", "sum", "max", "product"]
    clamp: Literal["fused", "heads"] | None


class Measurement(PageModel):
    """A number measured about a method."""

    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    images: int
    meaning: str = Field(description="In words.")


class Card(PageModel):
    """A saliency card (Boggust et al. 2022, arXiv 2206.02958): what a method is, needs and does."""

    method: str
    summary: str
    reference: str
    class_sensitive: bool
    signed: bool
    deterministic: bool
    needs: list[str]
    forwards: int
    backwards: int
    measured: list[Measurement] = Field(default=[])


class PageMethod(PageModel):
    """A method with its options under the name that tables and maps use."""

    name: str
    method: str
    control: bool = False
    options: dict[str, Any] = Field(default={})
    preset: str | None = Field(
        default=None, description="Name of the preset that the method with these options is."
    )


class TimelineFrame(PageModel):
    """One explained frame of a video."""

    number: int = Field(description="Which of the video's frames, from 0.")
    seconds: float = Field(description="When it is shown, from the first frame on.")
    predicted: str
    probabilities: dict[str, float]
    margin: float = Field(description="Logit of the class followed minus the log-sum-exp of all others.")
    change: float | None = Field(None, description="Of its probability, since the explained frame before.")
    agreement: float | None = Field(
        None, description="Spearman's rank correlation of its map with that of the frame before."
    )
    parts: dict[str, float] = Field({}, description="Face part → share of the evidence that lies there.")
    image: int | None = Field(None, description="Its place in the page's images, if it is one of them.")


class MapFlicker(PageModel):
    """Whether maps of neighbouring frames agree more than those of the same frames in random orders."""

    pairs: int
    mean: float | None = Field(description="Mean rank correlation of neighbours.")
    control: float | None = Field(description="The same, mean over random orders.")
    low: float | None = Field(description="2.5 % quantile over random orders.")
    high: float | None = Field(description="97.5 % quantile.")
    p: float | None = Field(description="Share of random orders that agree as much.")
    orders: int
    verdict: str = Field(description="In words.")


class Timeline(PageModel):
    """A video over time: the page's images are some of its frames."""

    video: str
    seconds: float = Field(description="Where the last explained frame ends, about.")
    label: str = Field(description="The class that is followed.")
    limit: float = Field(description="Largest absolute relevance of all maps: the one scale of all frames.")
    signed: bool = Field(description="Whether the maps hold evidence against a class, too.")
    frames: list[TimelineFrame]
    predicted: str = Field(description="By the mean of the frames' probabilities.")
    mean: dict[str, float] = Field(description="Probability of the video: mean over its frames.")
    median: dict[str, float] = Field(description="The median of the frames' probabilities.")
    certain: list[int] = Field(description="Places in `frames` with the largest margin, either way.")
    changing: list[int] = Field(
        description="Places in `frames` where the probability changed most, if by 5 points."
    )
    flicker: MapFlicker | None = None
    remarks: list[str] = Field(default=[])


class PageMetric(PageModel):
    """One metric under one protocol; its statistics stand in `summary.parts` at the same place."""

    key: str
    metric: str
    protocol: str
    fractions: list[float] = Field([], description="Share removed (or put back) at each value of the curves.")
    inserts: bool = Field(False, description="The curve starts from nothing and puts patches back.")
    operator: str | None = None
    exact: bool = Field(False, description="Whether the page can redraw the image as the model saw it.")
    redrawn: str = Field("", description="How a state of the curve is drawn, in words.")
    meaning: str = Field("", description="What the metric measures, in a sentence.")
    needs: str = Field("", description="What it is computed from, such as perturbation or mask.")


class Page(PageModel):
    """A page.

    Args:
        summary: Of a benchmark: `xai.bench.Summary.as_dict()`, in the order of `parts`.
        shown: Images in the page, and all that were asked for; of a benchmark those measured so far.
    """

    schema_: Literal["xai.report/1"] = Field(default=SCHEMA, alias="schema")
    kind: Kind
    title: str
    about: str = Field(default="", description="Model, date, images and how they were judged, in a sentence.")
    created: str = Field(description="ISO 8601.")
    version: str = Field(description="Of xai.")
    lang: Language = Field(default="en", description="Language of all sentences: English or Chinese.")
    model: dict[str, Any]
    labels: list[str]
    problem_type: ProblemType = Field(
        default=ProblemType.SINGLE_LABEL,
        description="Whether exactly one class is true (softmax), or each label by itself (sigmoid).",
    )
    rows: list[PageMethod]
    classes: list[str] = Field(description="Names of the maps, in order: classes and contrasts.")
    compared: tuple[str, str] | None = Field(
        default=None, description="Two classes; their difference is first − second."
    )
    fusion: Fusion | None = None
    parts: list[PageMetric] = Field(default=[])
    summary: TypedSummary | None = None
    cards: list[Card] = Field(default=[])
    provenance: dict[str, Any]
    shown: tuple[int, int]
    images: list[Image]
    timeline: Timeline | None = Field(default=None, description="Of a video, whose frames the images are.")

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)


def json_schema() -> dict[str, Any]:
    """JSON Schema of a page's data."""
    return Page.model_json_schema(by_alias=True)
