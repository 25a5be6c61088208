"""What `run.json` and the notes beside its records must look like: checked once, when they are read."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from xai.bench.config.schema import StatisticsConfig
from xai.bench.data.remote import Folder
from xai.core import DataError, ProblemType
from xai.metrics.protocol import CHOICES

RESTORE = "Restore it from a copy, or run the benchmark into another folder."
AGAIN = "Delete it and run the same xai benchmark run again."
_TYPE = re.compile(r"^(constrained-int|list\[.*)$")  # what pydantic calls a choice of a union, no key
Count = Annotated[int, Field(ge=0, lt=2**63)]
Size = Annotated[int, Field(ge=1, lt=2**31)]
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


class _Said(BaseModel):
    """A part of a file; other versions may say more."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, protected_namespaces=())


class _Operator(_Said):
    name: str
    value: Finite | None = None
    space: str | None = None

    @model_validator(mode="after")
    def _constant(self) -> "_Operator":
        if self.name == "constant" and (self.value is None or self.space is None):
            raise ValueError("a constant needs its value and its space")
        return self


class _Protocol(_Said):
    name: str
    hash: str
    reference: str
    unit: Annotated[str, _choice("unit")]
    operator: _Operator
    insertion_operator: _Operator | None
    ties: Annotated[str, _choice("ties")]
    tie_draws: Size
    sign: Annotated[str, _choice("sign")]
    value: Annotated[str, _choice("value")]
    target: Annotated[str, _choice("target")]


class _Row(_Said):
    name: str
    method: str
    options: dict[str, Any]
    control: bool


class _Unit(_Said):
    """A unit of the plan, which older versions wrote into `run.json`."""

    key: str
    protocol: str
    shard: Count = 0


class _Plan(_Said):
    images: Count
    units: Count | list[_Unit]


class _Grid(_Said):
    rows: Size
    cols: Size


class _Model(_Said):
    labels: Annotated[list[str], Field(min_length=1)]
    grid: _Grid
    input_size: Annotated[list[Size], Field(min_length=2, max_length=2)] | None = None
    problem_type: str = ProblemType.SINGLE_LABEL

    @model_validator(mode="after")
    def _known(self) -> "_Model":
        if self.problem_type not in set(ProblemType):
            raise ValueError(f"the problem_type is one of {', '.join(ProblemType)}")
        return self


class _Session(_Said):
    start: str
    end: str | None = None
    model: _Model
    versions: dict[str, Any] = {}


class _Config(_Said):
    seed: int
    statistics: StatisticsConfig
    explain: str
    controls: dict[str, Any]
    checks: dict[str, Any]
    shard_size: Size

    @model_validator(mode="after")
    def _all_said(self) -> "_Config":
        if lacking := sorted(StatisticsConfig.model_fields.keys() - self.statistics.model_fields_set):
            raise ValueError(f"statistics lacks {', '.join(lacking)}")
        return self


class RunFile(_Said):
    """What `run.json` says, as far as anything is read of it."""

    name: str
    config: _Config
    identity: dict[str, Any]
    protocols: Annotated[list[_Protocol], Field(min_length=1), AfterValidator(_named_once)]
    methods: Annotated[list[_Row], AfterValidator(_named_once)]
    plan: _Plan
    sessions: Annotated[list[_Session], Field(min_length=1)]


class _Exclusion(_Said):
    image: str
    method: str
    protocol: str
    reason: str

    model_config = ConfigDict(extra="forbid", strict=True)


class Notes(_Said):
    """What is written beside the records of a part."""

    exclusions: list[_Exclusion]
    forwards: Count
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    masks: dict[str, Annotated[list[Count], Field(min_length=3, max_length=3)]] = {}


def check(model: type[BaseModel], content: Any, path: Folder, hint: str) -> None:
    """Raise a DataError that names the file and the first thing wrong in it, unless the content fits."""
    try:
        model.model_validate(content)
    except ValidationError as error:
        raise DataError(f"{path} is broken: {fault(error)}.", hint) from None


def fault(error: ValidationError) -> str:
    """The first of the innermost faults, with its place."""
    one = max(error.errors(include_url=False), key=lambda found: len(found["loc"]))
    names = (name for name in one["loc"] if isinstance(name, int) or _TYPE.search(name) is None)
    place = "".join(f"[{name}]" if isinstance(name, int) else f".{name}" for name in names)
    text = one["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{place.removeprefix('.')[:200]}: {text[:1].lower()}{text[1:]}".removeprefix(": ")
