"""`xai explain` and `xai demo`: images in, pictures, maps and records out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import SpooledTemporaryFile
from textwrap import indent
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from xai.cli import options as opt
from xai.cli.guard import MISSING, PARTLY, guarded, interrupted
from xai.cli.output import progress, say, say_failures, say_next, show_json, show_table, write_page

if TYPE_CHECKING:
    from xai.core import XaiError
    from xai.explanation import Explained, Failure, PageBuilder

HELD = 1_000_000  # characters of records in memory; more are on disk until they are shown


@guarded
def explain(
    images: opt.Images,
    *,
    model: opt.ModelOptions,
    target: opt.Target = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="xai methods lists them; default --preset faithful, or gradient_weighted_attention where "
            "options of its are given.",
            rich_help_panel=opt.METHOD,
        ),
    ] = None,
    method_config: Annotated[
        Path | None,
        typer.Option(
            "--method-config",
            help="YAML with a method and its options, such as xai tune writes.",
            rich_help_panel=opt.METHOD,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help="A method with its options: faithful, one_pass, localisation, script (xai methods).",
            rich_help_panel=opt.METHOD,
        ),
    ] = None,
    layers: opt.Layers = None,
    head_fusion: opt.HeadFusion = None,
    layer_fusion: opt.LayerFusion = None,
    clamp: opt.Clamp = None,
    seed: opt.Seed = 0,
    out: opt.Out = Path("attention_results"),
    box: opt.Box = None,
    boxes: opt.Boxes = None,
    pictures: Annotated[
        str,
        typer.Option(
            "--pictures",
            help="all; comparison: the classes compared alone; none: maps and record only.",
            rich_help_panel=opt.OUTPUT,
        ),
    ] = "all",
    folders: Annotated[
        bool | None,
        typer.Option(
            "--folders/--no-folders",
            help="A folder for each image's files; default from 21 images on.",
            rich_help_panel=opt.OUTPUT,
        ),
    ] = None,
    layers_panel: Annotated[
        bool,
        typer.Option("--layers-panel", help="Also one map per layer and preset.", rich_help_panel=opt.OUTPUT),
    ] = False,
    heads_panel: Annotated[
        bool, typer.Option("--heads-panel", help="Also one map per head.", rich_help_panel=opt.OUTPUT)
    ] = False,
    report: Annotated[
        bool,
        typer.Option(
            "--report", help="Also one interactive HTML page of all images.", rich_help_panel=opt.OUTPUT
        ),
    ] = False,
    lang: opt.Lang = "en",
    as_json: opt.Json = False,
) -> None:
    """Draw where the evidence for each class lies in images.

    Per image: a picture per class, the classes compared, the raw maps (safetensors) and a JSON record.

    Example: xai explain photos/ --config clip.yaml --weights ckpt.pth --target fake
    """
    from xai.attr import OPTIONS_METHOD
    from xai.core.language import gettext
    from xai.explanation import Explainer, explain_each, gather, writing

    crop = opt.parse_crop(box, boxes)
    sources = gather(images, out)
    name, options = _method(method, method_config, preset, model.trust_code)
    if name is None and (layers_panel or heads_panel):
        name = OPTIONS_METHOD  # which has such maps
    explainer = Explainer(
        model.load(),
        name,
        target,
        batch_size=model.batch_size,
        seed=seed,
        **options | opt.method_options(layers, head_fusion, layer_fusion, clamp),
    )
    with writing(out):
        pass  # an unwritable folder shows before the work, not after it
    builder = None
    if report:
        from xai.explanation import PageBuilder  # which needs much that pictures do not

        builder = PageBuilder(explainer, len(sources))
    run = ExplainRun(total=len(sources), out=out, builder=builder, as_json=as_json)
    with run.collecting(), progress(len(sources), gettext("Explaining")) as step:
        for result in explain_each(
            explainer,
            sources,
            out,
            crop,
            pictures=pictures,
            folders=folders,
            layers_panel=layers_panel,
            heads_panel=heads_panel,
        ):
            run.add(result)
            step()
    run.write_page()
    run.show()
    run.finish(gettext("compare methods on one image: xai compare IMAGE"))


def _method(
    method: str | None, file: Path | None, preset: str | None, trust_code: bool
) -> tuple[str | None, dict[str, Any]]:
    """Name and options of the method that --method, --method-config or --preset names; None: none does."""
    from xai.attr import PRESETS
    from xai.core import UsageError, nearest
    from xai.explanation import read_method_file

    given = {"--method": method, "--method-config": file, "--preset": preset}
    names = [name for name, value in given.items() if value]
    if len(names) > 1:
        raise UsageError(f"{' and '.join(names)} name a method each.", "Give one of them.")
    if file is not None:
        content = read_method_file(file, trust_code)
        return content.method, content.options
    if preset is not None:
        if preset not in PRESETS:
            raise UsageError(f"There is no preset {preset!r}.", nearest(preset, PRESETS))
        return PRESETS[preset].method, dict(PRESETS[preset].options)
    return method and opt.imported(method), {}


@guarded
def demo(out: opt.Out = Path("attention_results/demo"), lang: opt.Lang = "en") -> None:
    """Explain the shipped images, pristine and forged, with the shipped detector.

    Needs no network and no files of yours. The forged region is outlined where it is known.
    """
    from xai.core.language import gettext
    from xai.data import shipped_samples
    from xai.explanation import Explainer, PageBuilder, explain_each
    from xai.models import load

    samples = shipped_samples()
    explainer = Explainer(load("demo"))
    pointed = {True: gettext("yes"), False: gettext("no"), None: ""}

    def row(record: dict[str, Any]) -> list[str]:
        image, hit = record["image"], record["maps"]["fake"].get("points_into_mask")
        chance = f"{record['probabilities']['fake']:.3f}"
        return [image["id"], image["label"], record["predicted"], chance, pointed[hit]]

    run = ExplainRun(total=len(samples), out=out, builder=PageBuilder(explainer, len(samples)), row=row)
    with run.collecting(), progress(len(samples), gettext("Explaining")) as step:
        for result in explain_each(explainer, samples, out):
            run.add(result)
            step()
    run.write_page(gettext("The shipped detector on the shipped images"))
    header = [gettext("image"), gettext("true class"), gettext("predicted"), "P(fake)"]
    show_table([*header, gettext("strongest fake evidence in the forged region")], run.rows)
    say(gettext("Pictures and page: {folder}", folder=out.resolve()))
    run.finish(
        gettext("open {page}, then try your own: xai explain IMAGE", page=out / "index.html"),
    )


def _row(record: dict[str, Any]) -> list[str]:
    from xai.core.language import gettext

    predicted, image = record["predicted"], record["image"]
    chance = f"{record['probabilities'][predicted]:.3f}"
    return [image["path"] or image["id"], predicted, chance, gettext("; ").join(record["warnings"])]


@dataclass
class ExplainRun:
    """What is shown of a run over many images, in order, and its exit code; of an image a line is kept.

    Args:
        total: Images asked for.
        out: Where the results are.
        builder: Makes the HTML page, if there is to be one; it keeps what the page holds of every image.
        as_json: Whether all records are to be shown; they wait in a temporary file.
        row: The line of a record in the table.
    """

    total: int
    out: Path
    builder: "PageBuilder | None" = None
    as_json: bool = False
    row: Callable[[dict[str, Any]], list[str]] = _row
    rows: list[list[str]] = field(default_factory=list)
    records: IO[str] | None = None
    failures: list["Failure"] = field(default_factory=list)
    interrupted: bool = False
    stopped: "XaiError | None" = None

    def __post_init__(self) -> None:
        if self.as_json:
            self.records = SpooledTemporaryFile(HELD, "w+", encoding="utf-8")  # noqa: SIM115 - closed by show

    def add(self, result: "Explained | Failure") -> None:
        """Count one image and put it into the page, which goes on without one that it cannot take."""
        from xai.core import DataError, ModelError
        from xai.core.files import json_text
        from xai.core.language import gettext
        from xai.explanation import Failure

        if isinstance(result, Failure):
            self.failures.append(result)
            return
        if self.records is not None:
            self.records.write(",\n" if self.rows else "")
            self.records.write(indent(json_text(result.record).rstrip(), "    "))
        self.rows.append(self.row(result.record))
        if self.builder is None:
            return
        try:
            self.builder.add(result.explanation)
        except (DataError, ModelError) as error:
            name = result.record["image"]["id"]
            say(gettext("{name} is left out of the page: {reason}", name=name, reason=error.message))

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """A run that is interrupted or cannot write any more still shows what it finished."""
        from xai.explanation import OutputError

        try:
            yield
        except KeyboardInterrupt:
            self.interrupted = True
        except OutputError as error:
            self.stopped = error

    def write_page(self, title: str | None = None) -> None:
        """Write the HTML page of what was explained, if there is to be one and anything was."""
        if self.builder is not None and self.builder.images:
            with self.collecting():
                write_page(self.builder.page(title), self.out)

    def show(self) -> None:
        """Print the results: a line per image, or everything as one JSON object."""
        from xai.core.language import gettext

        if self.records is not None:
            failures = [{"image": one.name, "error": str(one.error)} for one in self.failures]
            shown = {"out": str(self.out), "explanations": [], "failures": failures}
            with self.records as records:
                records.seek(0)
                show_json(shown, "explanations", iter(lambda: records.read(HELD), ""))
        elif self.rows:
            header = [gettext("image"), gettext("predicted"), gettext("probability"), ""]
            show_table(header, self.rows)

    def finish(self, advice: str) -> None:
        """Say how it went and what to do next; leave with the exit code that stands for it."""
        from xai.core.language import gettext

        done, failed = len(self.rows), len(self.failures)
        say_failures(self.failures)
        if self.stopped is not None:
            say(f"Error: {self.stopped}")
        elif self.interrupted:
            say(gettext("Interrupted. What is listed as explained is complete on disk."))
        missing = self.total - done - failed
        counts = [gettext("{n} of {total} images explained", n=done, total=self.total)]
        counts += [gettext("{n} failed", n=failed)] if failed else []
        counts += [gettext("{n} not reached", n=missing)] if missing else []
        line = gettext(", ").join(counts)
        say(
            gettext("{counts}. Results: {folder}/", counts=line, folder=self.out)
            if done
            else gettext("{counts}.", counts=line)
        )
        if self.interrupted or self.stopped is not None:
            say_next(gettext("run the same command again; files that are there are replaced by the same."))
        elif not done:
            say_next(gettext("check the paths; xai demo shows a run that works."))
        else:
            say_next(advice)
        code = self._exit_code()
        if code:
            raise typer.Exit(code)

    def _exit_code(self) -> int:
        if self.interrupted:
            return interrupted()
        if not self.rows:
            return MISSING
        return PARTLY if self.failures or self.stopped else 0
