"""What a page holds, as data: the JSON that the page embeds and that `xai report --data-only` writes.

The models are the documentation of the format; docs/report.md tells the story, `json_schema` the rest.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    WithJsonSchema,
)

from xai.core import ProblemType
from xai.core.language import Language
from xai.stats import Summary

SCHEMA = "xai.report/1"

Kind = Literal["explanation", "comparison", "benchmark"]
Box = tuple[float, float, float, float]


def _picture(uri: str) -> str:
    """Only pictures that a browser decodes as pixels; an SVG could hold anything."""
    if not uri.startswith(("data:image/webp;base64,", "data:image/png;base64,", "data:image/jpeg;base64,")):
        raise ValueError("a picture is a data URI of WebP, PNG or JPEG")
    return uri


Picture = Annotated[str, AfterValidator(_picture)]


def _summary(content: Any) -> Any:
    """A summary, also from JSON."""
    return Summary.from_dict(content) if isinstance(content, Mapping) else content


TypedSummary = Annotated[
    InstanceOf[Summary],
    BeforeValidator(_summary),
    PlainSerializer(Summary.as_dict, return_type=dict[str, Any]),
    WithJsonSchema({"additionalProperties": True, "type": "object"}),
]


class _PageModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Grid(_PageModel):
    """A relevance map: `values` is base64 of int16, little-endian, row by row.

    Relevance = limit · q / 32767.
    """

    rows: int
    cols: int
    limit: float = Field(description="Largest absolute relevance, in the units of the method.")
    values: str


class Stack(_PageModel):
    """Attention × gradient, or share of a mask gradient: base64 of int8 (layers, heads, rows, cols).

    Relevance = limit · q / 127. Fused as `Page.fusion` says, it gives the class's map.
    """

    layers: int
    heads: int
    rows: int
    cols: int
    limit: float
    values: str


class Fusion(_PageModel):
    """How the map of one row is fused from its `Stack`: heads first, then layers."""

    row: str
    layers: list[int] = Field(description="Indices of the layers fused, from 0.")
    presets: dict[str, list[int]] = Field(description="Named choices of layers that fit the model's depth.")
    head_fusion: Literal["mean", "max", "min", "sum"]
    layer_fusion: Literal["mean", "sum", "max", "product"]
    clamp: Literal["fused", "heads"] | None


class Removal(_PageModel):
    """The model's value when the most relevant patches are removed, beside as many random ones."""

    row: str
    target: str
    value: str = Field(description="What is read of the model: margin, probability, logit, accuracy.")
    operator: str
    removed: int = Field(description="Patches removed.")
    patches: int = Field(description="Patches of the grid.")
    clean: float = Field(description="Value of the image as it is.")
    top: float = Field(description="Value without the most relevant patches.")
    random: list[float] = Field(description="Value of each random draw.")


Interval = tuple[float, float]


class PartRelevance(_PageModel):
    """What a part of the face holds of one class's relevance; None where the map has none of that sign.

    Intervals: 95 of 100 placements of the landmarks, moved by their measured error, give a share in there.
    """

    positive: float | None = Field(default=None, description="Share of the positive relevance, in [0, 1].")
    positive_interval: Interval | None = None
    negative: float | None = Field(default=None, description="Share of the negative relevance, in [0, 1].")
    negative_interval: Interval | None = None


class FacePart(_PageModel):
    """A part of a face: its area, its relevance, and the model's value without it."""

    part: str
    area: float = Field(description="Share of what the model saw, in [0, 1]: what an even map would give.")
    area_interval: Interval
    relevance: dict[str, PartRelevance] = Field(description="Class → shares.")
    cells: int = Field(description="Cells of the map of which it covers more than any other part does.")
    without: float | None = Field(
        default=None, description="Value without these cells; None where not asked."
    )
    random: list[float] = Field(
        default=[],
        description="Value without as many random cells elsewhere, in as many pieces; of each draw.",
    )
    p: float | None = Field(
        default=None,
        description="One-sided rank p: share of regions, itself counted, that lower the value as much.",
    )


class PartRemovals(_PageModel):
    """How parts were removed, and of what the value is read."""

    target: str
    value: str
    operator: str
    clean: float = Field(description="Value of the image as it is.")
    states: int = Field(description="Images that went through the model for this.")


class FaceEvidence(_PageModel):
    """Relevance and value by parts of the face."""

    points: int = Field(description="Landmarks known: 5, 68 or 81; the others are drawn.")
    draws: int = Field(description="Placements of the landmarks behind each interval.")
    grid: tuple[int, int] = Field(description="Rows and columns of cells.")
    parts: list[FacePart]
    removals: PartRemovals | None = None
    caveats: list[str] = []
    picture: Picture | None = Field(default=None, description="The face, its parts in colours; in pages.")


class MapAgreement(_PageModel):
    """Spearman's rank correlation between the maps of one image; None where a map is constant."""

    rows: list[str]
    spearman: list[list[float | None]]


class DegradedImage(_PageModel):
    """An image after one degradation, beside itself as it is."""

    name: str
    title: str = Field(description="In words.")
    spearman: float | None = Field(description="Rank correlation of its map with the clean one.")
    overlap: float | None = Field(description="Share of the strongest patches that are the same.")
    probability: float | None = Field(description="Of the class followed.")
    margin: float
    predicted: str
    verdict: str
    said: str = Field(description="The verdict in words.")


class Stability(_PageModel):
    """What becomes of an image's map and answer when the picture gets worse."""

    target: str = Field(description="The class whose map is followed.")
    probability: float | None = Field(description="Of the image as it is.")
    margin: float
    unrelated: float | None = Field(description="Mean rank correlation with maps of other images.")
    unrelated_high: float | None = Field(description="Its 95 % quantile over these.")
    others: int = Field(description="Maps of other images that it was measured against.")
    top: float = Field(description="Share of the patches that count as the strongest.")
    verdict: str = Field(description="The worst of all degradations.")
    sentences: list[str]
    degraded: list[DegradedImage]


class Photograph(_PageModel):
    """The photograph that the face was cut out of."""

    width: int
    height: int
    number: int = Field(description="Which of its faces, the largest first, from 0.")
    picture: Picture = Field(description="Small, with the crop outlined.")


class Image(_PageModel):
    """One image with everything that was found about it.

    What a browser needs at once stays in the page's head; the fields of `HEAVY` travel per image and are
    decoded when the image comes into view.
    """

    id: str
    name: str
    group: str | None = None
    label: str | None = Field(None, description="True class, if known.")
    target: str | None = Field(None, description="Class that was followed, where there is one for all maps.")
    predicted: str
    predicted_labels: list[str] | None = Field(
        None, description="All labels that the model finds; of exclusive classes the predicted one."
    )
    probabilities: dict[str, float] = Field(
        description="Most probable classes and those explained; independent labels' do not add up to 1."
    )
    width: int
    height: int
    sha256: str | None = Field(None, description="Of the image file.")
    input_hash: str | None = Field(None, description="Digest of the preprocessed pixels.")
    disagreement: float | None = Field(
        None, description="1 − mean Spearman correlation between the maps of the methods, controls left out."
    )
    caveats: list[str] = Field([], description="Sentences a reader must know about this image.")

    view: Box = Field(
        description="(left, top, right, bottom) that the picture shows, in pixels of the original."
    )
    seen: Box = Field(description="The same, of what the model saw: the maps cover this.")
    box: Box | None = Field(None, description="(x, y, width, height) of the crop that was explained.")
    picture: Picture | None = Field(None, description="None where the run kept no pictures.")
    photograph: Photograph | None = Field(None, description="Of a face that was cut out of one.")
    mask: Picture | None = Field(
        None, description="White where tampered with; shows `view` as the picture does."
    )
    maps: dict[str, dict[str, Grid]] = Field(description="Row → class → map.")
    products: dict[str, Stack] = Field({}, description="Class → its layers and heads; in explanations only.")
    orders: dict[str, str] = Field(
        {},
        description="Row → base64 of uint16: patches, first to be removed first, ties as they were broken.",
    )
    fills: dict[str, str] = Field({}, description="Operator → #rrggbb put in the place of a removed patch.")
    scores: dict[str, dict[str, float | None]] = Field({}, description="Part key → row → score.")
    curves: dict[str, dict[str, list[float]]] = Field({}, description="Part key → row → values.")
    removals: list[Removal] = []
    agreement: MapAgreement | None = None
    face_parts: FaceEvidence | None = Field(
        None, description="By parts of the face, where its landmarks are known."
    )
    stability: Stability | None = Field(None, description="When the picture gets worse, if that was tried.")


HEAVY = frozenset(
    {"picture", "mask", "maps", "products", "orders", "fills", "scores", "curves", "removals", "agreement"}
    | {"face_parts", "stability", "photograph"}
)


class Measurement(_PageModel):
    """A number measured about a method."""

    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    images: int
    meaning: str = Field(description="In words.")


class Card(_PageModel):
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
    measured: list[Measurement] = []


class PageMethod(_PageModel):
    """A method with its options under the name that tables and maps use."""

    name: str
    method: str
    control: bool = False
    options: dict[str, Any] = {}
    preset: str | None = Field(
        default=None, description="Name of the preset that the method with these options is."
    )


class TimelineFrame(_PageModel):
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


class MapFlicker(_PageModel):
    """Whether maps of neighbouring frames agree more than those of the same frames in random orders."""

    pairs: int
    mean: float | None = Field(description="Mean rank correlation of neighbours.")
    control: float | None = Field(description="The same, mean over random orders.")
    low: float | None = Field(description="2.5 % quantile over random orders.")
    high: float | None = Field(description="97.5 % quantile.")
    p: float | None = Field(description="Share of random orders that agree as much.")
    orders: int
    verdict: str = Field(description="In words.")


class Timeline(_PageModel):
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
    remarks: list[str] = []


class PageMetric(_PageModel):
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


class Page(_PageModel):
    """A page.

    Args:
        summary: Of a benchmark: `xai.bench.Summary.as_dict()`, in the order of `parts`.
        shown: Images in the page, and all that were asked for; of a benchmark those measured so far.
    """

    schema_: Literal["xai.report/1"] = Field(default=SCHEMA, alias="schema")
    kind: Kind
    title: str
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
    parts: list[PageMetric] = []
    summary: TypedSummary | None = None
    cards: list[Card] = []
    provenance: dict[str, Any]
    shown: tuple[int, int]
    images: list[Image]
    timeline: Timeline | None = Field(default=None, description="Of a video, whose frames the images are.")

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)


def json_schema() -> dict[str, Any]:
    """JSON Schema of a page's data."""
    return Page.model_json_schema(by_alias=True)
