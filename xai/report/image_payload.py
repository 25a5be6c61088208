"""What a page holds of one image: maps, removals, face parts, stability; see `xai.report.payload`."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Box = tuple[float, float, float, float]


def _picture(uri: str) -> str:
    """Only pictures that a browser decodes as pixels; an SVG could hold anything."""
    if not uri.startswith(("data:image/webp;base64,", "data:image/png;base64,", "data:image/jpeg;base64,")):
        raise ValueError("a picture is a data URI of WebP, PNG or JPEG")
    return uri


Picture = Annotated[str, AfterValidator(_picture)]


class PageModel(BaseModel):
    """Part of a page's data: no unknown fields, no NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Grid(PageModel):
    """A relevance map: `values` is base64 of int16, little-endian, row by row.

    Relevance = limit · q / 32767.
    """

    rows: int
    cols: int
    limit: float = Field(description="Largest absolute relevance, in the units of the method.")
    values: str
    relative_range: float | None = Field(
        None, description="(Largest − smallest) / largest absolute relevance; below 0.1 nearly constant."
    )


class Stack(PageModel):
    """Attention × gradient, or share of a mask gradient: base64 of int8 (layers, heads, rows, cols).

    Relevance = limit · q / 127. Fused as `Page.fusion` says, it gives the class's map.
    """

    layers: int
    heads: int
    rows: int
    cols: int
    limit: float
    values: str


class Removal(PageModel):
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


class PartRelevance(PageModel):
    """What a part of the face holds of one class's relevance; None where the map has none of that sign.

    Intervals: 95 of 100 placements of the landmarks, moved by their measured error, give a share in there.
    """

    positive: float | None = Field(default=None, description="Share of the positive relevance, in [0, 1].")
    positive_interval: Interval | None = None
    negative: float | None = Field(default=None, description="Share of the negative relevance, in [0, 1].")
    negative_interval: Interval | None = None


class FacePart(PageModel):
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


class PartRemovals(PageModel):
    """How parts were removed, and of what the value is read."""

    target: str
    value: str
    operator: str
    clean: float = Field(description="Value of the image as it is.")
    states: int = Field(description="Images that went through the model for this.")


class FaceEvidence(PageModel):
    """Relevance and value by parts of the face."""

    points: int = Field(description="Landmarks known: 5, 68 or 81; the others are drawn.")
    draws: int = Field(description="Placements of the landmarks behind each interval.")
    grid: tuple[int, int] = Field(description="Rows and columns of cells.")
    parts: list[FacePart]
    removals: PartRemovals | None = None
    caveats: list[str] = []
    picture: Picture | None = Field(default=None, description="The face, its parts in colours; in pages.")


class MapAgreement(PageModel):
    """Spearman's rank correlation between the maps of one image; None where a map is constant."""

    rows: list[str]
    spearman: list[list[float | None]]


class DegradedImage(PageModel):
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


class Stability(PageModel):
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


class Caveat(PageModel):
    """What a reader must know about an image, to be marked there and said once for the page."""

    kind: str = Field(description="What is alike, and has one footnote.")
    text: str = Field(description="A sentence about this image.")
    short: str = Field(description="The same in a few words; empty where the page says it of all maps.")


class Photograph(PageModel):
    """The photograph that the face was cut out of."""

    width: int
    height: int
    number: int = Field(description="Which of its faces, the largest first, from 0.")
    picture: Picture = Field(description="Small, with the crop outlined.")


class Image(PageModel):
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
    notes: list[Caveat] = Field([], description="Those of `caveats` that many images have, by kind.")
    steadiness: float | None = Field(
        None, description="Least rank correlation of its map, after a degradation, with that of it as it is."
    )

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
