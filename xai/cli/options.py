"""Options that several commands share, and what they stand for."""

from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import typer

if TYPE_CHECKING:
    from xai.explanation.faces import FaceFinder
    from xai.explanation.inputs import BoxOf
    from xai.models import Classifier
    from xai.video import Sampling

MODEL, METHOD, OUTPUT, FACE, VIDEO = "Model", "Method", "Output", "Face", "Video"

Images = Annotated[
    list[str], typer.Argument(help="Image files, folders (searched below), quoted globs, manifests (.csv).")
]
ImagesAndVideos = Annotated[
    list[str],
    typer.Argument(help="Image and video files, folders (searched below), quoted globs, manifests (.csv). A "
                   "folder stands for its images; one without images for its videos."),
]  # fmt: skip
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="demo (default), hf:ORG/NAME, local:DIR …: xai models lists them.",
                 rich_help_panel=MODEL),
]  # fmt: skip
Config = Annotated[
    Path | None, typer.Option("--config", help="YAML file that describes a detector.", rich_help_panel=MODEL)
]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", help="Checkpoint, instead of the one the YAML names.", rich_help_panel=MODEL),
]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:1, mps …", rich_help_panel=MODEL)
]
Dtype = Annotated[
    str | None, typer.Option("--dtype", help="float32, bfloat16 or float16.", rich_help_panel=MODEL)
]
Prompts = Annotated[
    list[str] | None,
    typer.Option("--prompts", help="Text that describes a class, for CLIP, SigLIP …; once per class.",
                 rich_help_panel=MODEL),
]  # fmt: skip
ProblemType = Annotated[
    str | None,
    typer.Option("--problem-type", help="What the logits mean, where the model does not say it: "
                 "single_label_classification (softmax) or multi_label_classification (sigmoid per label).",
                 rich_help_panel=MODEL),
]  # fmt: skip
Grid = Annotated[
    str | None,
    typer.Option("--grid", help="ROWSxCOLS[+PREFIX] of the patches, such as 14x14+1 with one token before "
                 "them, where the model does not say it.", rich_help_panel=MODEL),
]  # fmt: skip
TrustRemoteCode = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="Run Python code from the model's repository.",
                 rich_help_panel=MODEL),
]  # fmt: skip
TrustCode = Annotated[
    bool,
    typer.Option("--trust-code", help="Run the code that a file names, a factory or module:Class: any code, "
                 "with its rights.", rich_help_panel=MODEL),
]  # fmt: skip
Target = Annotated[
    list[str] | None,
    typer.Option("--target", "-t", help="Class name, index, or a contrast such as fake-real; repeatable. "
                 "Default: both of two classes, else each image's top two.", rich_help_panel=METHOD),
]  # fmt: skip
Layers = Annotated[
    str | None,
    typer.Option("--layers", help="last_layer, last_2_layers, last_4_layers, spaced_layers, all_layers, or "
                 "indices: --layers=-1,-2", rich_help_panel=METHOD),
]  # fmt: skip
HeadFusion = Annotated[
    str | None, typer.Option("--head-fusion", help="mean, max or min.", rich_help_panel=METHOD)
]
LayerFusion = Annotated[
    str | None, typer.Option("--layer-fusion", help="mean, sum, max or product.", rich_help_panel=METHOD)
]
Clamp = Annotated[
    str | None,
    typer.Option("--clamp", help="Where negative relevance is dropped: fused, heads or none.",
                 rich_help_panel=METHOD),
]  # fmt: skip
Seed = Annotated[
    int, typer.Option("--seed", help="Of methods that draw random numbers.", rich_help_panel=METHOD)
]
BatchSize = Annotated[
    int,
    typer.Option("--batch-size", min=1, help="Images at once; halved when memory runs out.",
                 rich_help_panel=MODEL),
]  # fmt: skip
Box = Annotated[
    str | None,
    typer.Option(
        "--box", help="x,y,w,h: explain this crop, drawn on the whole image.", rich_help_panel=OUTPUT
    ),
]
Boxes = Annotated[
    Path | None,
    typer.Option("--boxes", help="CSV file with a box per image: image,x,y,w,h", rich_help_panel=OUTPUT),
]
RESULTS = Path("attention_results")  # that of xai.core.files, which imports numpy: help need not wait for it
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.", rich_help_panel=OUTPUT)]
Stability = Annotated[
    bool,
    typer.Option("--stability", help="With --report: explain each image again as JPEG 95 to 50, resized and "
                 "uploaded, ten times in all; what stays is on its evidence sheet.", rich_help_panel=OUTPUT),
]  # fmt: skip
Csv = Annotated[
    Path | None,
    typer.Option("--csv", metavar="FILE", help="Also a table of all images: a line for each image, class and "
                 "method.", rich_help_panel=OUTPUT),
]  # fmt: skip
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Lang = Annotated[str, typer.Option("--lang", help="Language of pages and summaries: en or zh.")]
Debug = Annotated[
    bool, typer.Option("--debug", help="On an error show where it happened; show library warnings.")
]


@dataclass(frozen=True)
class ModelOptions:
    """The options that say which model is loaded, and how."""

    model: Model = None
    config: Config = None
    weights: Weights = None
    device: Device = None
    dtype: Dtype = None
    batch_size: BatchSize = 8
    prompts: Prompts = None
    problem_type: ProblemType = None
    trust_remote_code: TrustRemoteCode = False
    trust_code: TrustCode = False
    grid: Grid = None

    @property
    def named(self) -> str:
        """What --model or --config names; the shipped detector if neither does."""
        return str(self.config or self.model or "demo")

    def check(self) -> None:
        """Raise a UsageError where the options contradict each other."""
        from xai.core import UsageError

        if self.model and self.config:
            raise UsageError("--model and --config both name a model.", "Give one of them.")
        if self.weights and not (self.model or self.config):
            raise UsageError("--weights needs --config, which says what they belong to.")

    def load(self) -> "Classifier":
        """Load the model that --model or --config names; the shipped detector if neither does."""
        from xai.models import load

        self.check()
        return load(
            self.named,
            weights=self.weights,
            device=self.device,
            dtype=self.dtype,
            prompts=self.prompts or None,
            problem_type=self.problem_type,
            trust_remote_code=self.trust_remote_code,
            trust_code=self.trust_code,
            grid=self.grid,
        )


@dataclass(frozen=True)
class VideoOptions:
    """The options that say which frames of a video are looked at."""

    every: Annotated[
        str | None,
        typer.Option("--every", help="Of videos, the frames shown at 0 s, 1 s, 2 s … (1s, 0.5s, 500ms), or "
                     "every tenth frame (10f).", rich_help_panel=VIDEO),
    ] = None  # fmt: skip
    frames: Annotated[
        int | None,
        typer.Option("--frames", min=1, help="Of videos, so many frames, evenly spread; default 32.",
                     rich_help_panel=VIDEO),
    ] = None  # fmt: skip

    def sampling(self) -> "Sampling":
        """Which frames that is; the default's where nothing is said."""
        from xai.video import DEFAULT_SAMPLING, parse_sampling

        return DEFAULT_SAMPLING if self == VideoOptions() else parse_sampling(self.every, self.frames)


@dataclass(frozen=True)
class FaceOptions:
    """The options that say whether faces are cut out of photographs, and which are explained."""

    faces: Annotated[
        str,
        typer.Option("--faces", help="Find faces in photographs and cut them out upright: auto (if the "
                     "detector's YAML says faces: aligned), always or never.", rich_help_panel=FACE),
    ] = "auto"  # fmt: skip
    face: Annotated[
        str | None,
        typer.Option("--face", help="Which of them are explained: all, largest, or a number from 0, the "
                     "largest first; they are looked for then. Default: all, of a video the largest.",
                     rich_help_panel=FACE),
    ] = None  # fmt: skip
    whole_image: Annotated[
        bool, typer.Option("--whole-image", help="The same as --faces never.", rich_help_panel=FACE)
    ] = False

    def finder(self, classifier: "Classifier", crop: "BoxOf | None") -> "FaceFinder | None":
        """What cuts out faces, if it is to be done; `crop` says where to look instead."""
        from xai.core import UsageError
        from xai.core.options import check_option
        from xai.explanation.arguments import face_finder
        from xai.explanation.faces import EVERY

        check_option("--faces", self.faces, ("auto", "always", "never"))
        if self.faces == "always" and self.whole_image:
            raise UsageError("--faces always and --whole-image contradict each other.", "Give one of them.")
        return face_finder(
            classifier,
            EVERY if self.faces == "always" and self.face is None else self.face,
            whole_image=self.whole_image or self.faces == "never",
            box_of=crop,
        )


class Without(tuple[str, ...]):
    """`Annotated[ModelOptions, Without(["grid"])]`: all options of the class but these."""


def expand(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, in place of a parameter that is a class of options, the options themselves.

    typer reads a command's signature, and has no word for options that belong together.
    """
    groups: dict[str, tuple[type, list[str]]] = {}
    parameters: list[Parameter] = []
    for parameter in signature(command, eval_str=True).parameters.values():
        group, without = parameter.annotation, ()
        if get_origin(group) is Annotated and is_dataclass(get_args(group)[0]):
            group, without = get_args(group)
        if not (isinstance(group, type) and is_dataclass(group)):
            parameters.append(parameter)
            continue
        fields = [
            one for one in signature(group, eval_str=True).parameters.values() if one.name not in without
        ]
        groups[parameter.name] = group, [one.name for one in fields]
        parameters += [one.replace(kind=parameter.kind) for one in fields]

    @wraps(command)
    def run(**given: Any) -> None:
        for name, (group, fields) in groups.items():
            given[name] = group(**{field: given.pop(field) for field in fields if field in given})
        command(**given)

    return with_parameters(run, parameters)


def with_parameters(command: Callable[..., None], parameters: list[Parameter]) -> Callable[..., None]:
    """The command, which says that it has these parameters and takes them by name."""
    command.__signature__ = Signature(parameters)  # pyrefly: ignore[missing-attribute]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def import_code_of(run: str, trusted: bool) -> None:
    """Import what a run's configuration names as `package.module:Class`, also from the working folder."""
    if trusted:
        from xai.bench import BenchmarkConfig, read_run
        from xai.bench.config.reading import import_code

        config = BenchmarkConfig.model_validate(read_run(run).content["config"])
        import_code(config.of_folder(Path()), trusted)


def imported(method: str) -> str:
    """The registry name of a method; `package.module:Class` is imported, also from the working folder."""
    from xai.attr import METHODS

    return METHODS.resolve(method, trusted=True, folder=Path())


def method_options(
    layers: str | None = None,
    head_fusion: str | None = None,
    layer_fusion: str | None = None,
    clamp: str | None = None,
) -> dict[str, Any]:
    """The method's options that were given; those that were not keep the method's own defaults."""
    given = {"layers": parse_layers(layers), "head_fusion": head_fusion, "layer_fusion": layer_fusion}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if clamp is not None:
        options["clamp"] = None if clamp == "none" else clamp
    return options


def parse_layers(text: str | None) -> str | list[int] | None:
    """A comma list of indices as integers; anything else is a preset's name, checked by the method."""
    try:
        return None if text is None else [int(part) for part in text.split(",")]
    except ValueError:
        return text


def parse_crop(box: str | None, boxes: Path | None) -> Any:
    """The box of each image, or None."""
    from xai.core import UsageError
    from xai.data import parse_box
    from xai.explanation import boxes_for

    if box and boxes:
        raise UsageError("--box and --boxes both say what to cut out.", "Give one of them.")
    return boxes_for(parse_box(box) if box else None, boxes)
