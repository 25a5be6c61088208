"""`xai explain`: images in, pictures, maps and records out."""

from pathlib import Path
from typing import Annotated

import typer

from xai.cli import options as opt
from xai.cli.guard import Debug, guarded
from xai.cli.outcome import Outcome
from xai.cli.output import progress


@guarded
def explain(
    images: opt.Images,
    model: opt.Model = None,
    config: opt.Config = None,
    weights: opt.Weights = None,
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
    device: opt.Device = None,
    dtype: opt.Dtype = None,
    batch_size: opt.BatchSize = 8,
    prompts: opt.Prompts = None,
    problem_type: opt.ProblemType = None,
    trust_remote_code: opt.TrustRemoteCode = False,
    trust_code: opt.TrustCode = False,
    grid: opt.Grid = None,
    debug: Annotated[bool, Debug] = False,
) -> None:
    """Draw where the evidence for each class lies in images.

    Per image: a picture per class, the classes compared, the raw maps (safetensors) and a JSON record.

    Example: xai explain photos/ --config clip.yaml --weights ckpt.pth --target fake
    """
    from xai.core.language import gettext
    from xai.explanation import Explainer, PageBuilder, explain_each, gather, writing

    crop = opt.parse_crop(box, boxes)
    sources = gather(images, out)
    name, options = opt.method_of(method, method_config, preset)
    if name is None and (layers_panel or heads_panel):
        name = "gradient_weighted_attention"  # which has such maps
    explainer = Explainer(
        opt.load_classifier(
            model,
            config,
            weights,
            device,
            dtype,
            prompts,
            trust_remote_code,
            problem_type=problem_type,
            trust_code=trust_code,
            grid=grid,
        ),
        name,
        target,
        batch_size=batch_size,
        seed=seed,
        **options | opt.method_options(layers, head_fusion, layer_fusion, clamp),
    )
    with writing(out):
        pass  # an unwritable folder shows before the work, not after it
    builder = PageBuilder(explainer, len(sources)) if report else None
    outcome = Outcome(total=len(sources), out=out, builder=builder)
    with outcome.collecting(), progress(len(sources), gettext("Explaining")) as step:
        for result in explain_each(
            explainer, sources, out, crop, layers_panel=layers_panel, heads_panel=heads_panel
        ):
            outcome.add(result)
            step()
    outcome.write_page()
    outcome.show(as_json)
    outcome.finish(gettext("compare methods on one image: xai compare IMAGE"))
