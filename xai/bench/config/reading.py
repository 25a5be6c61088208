"""From a YAML file to a checked configuration; what is wrong is said with its line."""

from pathlib import Path
from typing import Any

from xai.bench.config.names import problems
from xai.bench.config.schema import BenchmarkConfig
from xai.core import ConfigError
from xai.core.files import expanded
from xai.core.yaml_models import read_model


def read_benchmark(path: str | Path) -> BenchmarkConfig:
    """Read and check a benchmark's YAML; relative paths in it are taken from the file's folder.

    Raises:
        ConfigError: When the file is missing, no YAML mapping, or holds an unknown key, a wrong value or an
            unknown name of a method, option, metric or protocol; says file:line and the nearest valid one.
    """
    path = Path(path)
    config, file = read_model(
        path, BenchmarkConfig, "benchmark file", "xai benchmark init writes a commented one."
    )
    config = _relative_to(config, path.resolve().parent)
    if wrong := sorted((file.line(loc), text) for loc, text in problems(config)):
        raise ConfigError("\n".join(f"{path}:{line}: {text}" for line, text in wrong))
    return config


def _relative_to(config: BenchmarkConfig, folder: Path) -> BenchmarkConfig:
    model, data = config.model, config.data
    places: dict[str, Any] = {
        key: folder / expanded(value)
        for key in ("config", "weights")
        if (value := getattr(model, key)) is not None
    }
    if model.spec is not None:
        places["spec"] = _spec_in(folder, model.spec)
    sources: dict[str, Any] = {}
    if data.images is not None:
        sources["images"] = tuple(str(folder / expanded(image)) for image in data.images)
    if data.shards is not None:
        sources["shards"] = tuple(one if "://" in one else str(folder / expanded(one)) for one in data.shards)
    if data.manifest is not None:
        sources["manifest"] = folder / expanded(data.manifest)
    if data.forgeries is not None and data.forgeries.photos != "shipped":
        photos = str(folder / expanded(data.forgeries.photos))
        sources["forgeries"] = data.forgeries.model_copy(update={"photos": photos})
    return config.model_copy(
        update={"model": model.model_copy(update=places), "data": data.model_copy(update=sources)}
    )


def _spec_in(folder: Path, spec: str) -> str:
    if spec.startswith("local:"):
        return f"local:{folder / expanded(spec.removeprefix('local:'))}"
    return str(folder / expanded(spec)) if spec.endswith((".yaml", ".yml")) else spec
