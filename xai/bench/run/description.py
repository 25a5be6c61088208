"""What a run says of itself, in `run.json` and beside its records: typed, and checked once, when read."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from xai.bench.config.schema import StatisticsConfig
from xai.bench.config.survey import SurveyConfig
from xai.bench.data.files import Folder
from xai.core import DataError, ProblemType
from xai.core.catalogue import CHOICES

RESTORE = "Restore it from a copy, or run the same configuration into another folder."
AGAIN = "Delete it and run the same command again."
_TYPE = re.compile(r"^(constrained-int|list\[.*)$")  # what pydantic calls a choice of a union, no key
Count = Annotated[int, Field(ge=0, lt=2**63)]
Size = Annotated[int, Field(ge=1, lt=2**31)]
Described = TypeVar("Described", bound=BaseModel)
Finite = Annotated[float, Field(allow_inf_nan=False)]


def _choice(key: str) -> AfterValidator:
    """A setting of a protocol is one of its choices."""

    def check(value: str) -> str:
        if value not in CHOICES[key]:
            raise ValueError(f"expected one of {', '.join(CHOICES[key])}")
        return value

    return AfterValidator(check)


def _named_once(items: list[Any]) -> list[Any]:
    names = [one.name for one in items]
    if len(set(names)) < len(names):
        raise ValueError("two have the same name")
    return items


class Description(BaseModel):
    """A part of a file. Other versions may say more, so it goes on as it was written: see `content`."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, protected_namespaces=())
    _content: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _with_content(cls, value: Any, handler: Callable[[Any], Self]) -> Self:
        one = handler(value)
        if isinstance(value, dict):
            one._content = value
        return one

    @property
    def content(self) -> dict[str, Any]:
        """All of it, JSON-ready and in the order of the file, also what this version does not know."""
        return self._content


class OperatorDescription(Description):
    """How a protocol removes evidence, as `Operator.describe` says it."""

    name: str
    value: Finite | None = None
    space: str | None = None

    @model_validator(mode="after")
    def _constant(self) -> Self:
        if self.name == "constant" and (self.value is None or self.space is None):
            raise ValueError("a constant needs its value and its space")
        return self

    @property
    def title(self) -> str:
        """The name, of a constant with its value, since a run may have several."""
        return f"constant {self.value:g} ({self.space})" if self.name == "constant" else self.name


class ProtocolDescription(Description):
    """A protocol, as `Protocol.describe` says it, and its hash."""

    name: str
    hash: str
    reference: str
    unit: Annotated[str, _choice("unit")]
    operator: OperatorDescription
    insertion_operator: OperatorDescription | None
    ties: Annotated[str, _choice("ties")]
    tie_draws: Size
    sign: Annotated[str, _choice("sign")]
    value: Annotated[str, _choice("value")]
    target: Annotated[str, _choice("target")]


class MethodDescription(Description):
    """A method configuration of the run, a control perhaps."""

    name: str
    method: str
    options: dict[str, Any]
    control: bool


class ListedItem(Description):
    """A work item of the plan, which older versions listed in `run.json`; the oldest without its shard."""

    key: str
    protocol: str
    shard: Count | None = None


class PlanDescription(Description):
    """How much there is to do."""

    images: Count
    units: Count | list[ListedItem]


class GridDescription(Description):
    """Patches of the model's input."""

    rows: Size
    cols: Size


class ModelDescription(Description):
    """The model, as `Classifier.describe` says it."""

    labels: Annotated[list[str], Field(min_length=1)]
    grid: GridDescription
    input_size: Annotated[list[Size], Field(min_length=2, max_length=2)] | None = None
    problem_type: str = ProblemType.SINGLE_LABEL

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.problem_type not in set(ProblemType):
            raise ValueError(f"the problem_type is one of {', '.join(ProblemType)}")
        return self


class Session(Description):
    """A call that measured something: when, on what machine, with which versions."""

    start: str
    end: str | None = None
    model: ModelDescription
    versions: dict[str, Any] = {}


class Settings(Description):
    """The configuration, as far as results depend on it."""

    seed: int
    statistics: StatisticsConfig
    explain: str
    controls: dict[str, Any]
    checks: dict[str, Any]
    shard_size: Size

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if lacking := sorted(StatisticsConfig.model_fields.keys() - self.statistics.model_fields_set):
            raise ValueError(f"statistics lacks {', '.join(lacking)}")
        return self


class RunDescription(Description):
    """What `run.json` says, as far as anything is read of it.

    Args:
        name: Title of the run.
        config: Its settings.
        identity: What must stay the same for the run to go on, see `xai.bench.run.plan.Plan`.
        protocols: In order.
        methods: The method configurations in order, controls last.
        plan: How much there is to do.
        sessions: Calls that measured something, the first one first.
    """

    run_schema: Annotated[str, Field(alias="schema")] = "xai.benchmark/1"
    name: str
    config: Settings
    identity: dict[str, Any]
    protocols: Annotated[list[ProtocolDescription], AfterValidator(_named_once)]
    methods: Annotated[list[MethodDescription], AfterValidator(_named_once)]
    plan: PlanDescription
    sessions: Annotated[list[Session], Field(min_length=1)]

    @model_validator(mode="after")
    def _with_protocols(self) -> Self:
        if not (self.protocols or self.is_survey):
            raise ValueError("a benchmark has at least one protocol")
        return self

    @property
    def is_survey(self) -> bool:
        """Whether maps were kept to be summed up, rather than scored."""
        return self.run_schema == SurveyConfig.run_schema

    def scored(self, run: object) -> Self:
        """Itself, if it is a benchmark's, whose maps were scored.

        Raises:
            DataError: It is a survey's; `run` is its folder.
        """
        if self.is_survey:
            raise DataError(f"{run} holds a survey, which scores no map.", f"xai survey summary {run}")
        return self

    @property
    def model(self) -> ModelDescription:
        """The model, which is the same in all sessions."""
        return self.sessions[-1].model

    @property
    def problem_type(self) -> ProblemType:
        """What the model's logits mean; runs that do not say it are of exclusive classes."""
        return ProblemType(self.model.problem_type)


class WrittenExclusion(Description):
    """An `xai.bench.Exclusion` in a file."""

    image: str
    method: str
    protocol: str
    reason: str

    model_config = ConfigDict(extra="forbid", strict=True)


class PartNotes(Description):
    """What is written beside the records of a part."""

    exclusions: list[WrittenExclusion]
    forwards: Count
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    masks: dict[str, Annotated[list[Count], Field(min_length=3, max_length=3)]] = {}


def checked(model: type[Described], content: Any, path: Folder, hint: str) -> Described:
    """The content of a file as what it describes.

    Raises:
        DataError: It does not fit; names the file and the first thing wrong in it.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise DataError(f"{path} is broken: {fault(error)}.", hint) from None


def fault(error: ValidationError) -> str:
    """The first of the innermost faults, with its place."""
    one = max(error.errors(include_url=False), key=lambda found: len(found["loc"]))
    names = (name for name in one["loc"] if isinstance(name, int) or _TYPE.search(name) is None)
    place = "".join(f"[{name}]" if isinstance(name, int) else f".{name}" for name in names)
    text = one["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{place.removeprefix('.')[:200]}: {text[:1].lower()}{text[1:]}".removeprefix(": ")
