"""The method configurations of a benchmark: the methods asked for, and the controls they must beat."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from xai.bench.config.schema import BenchmarkConfig
from xai.core import derive_seed
from xai.core.options import is_import_path
from xai.stats.summary import MethodConfiguration

RANDOM, GREEDY = "random", "greedy"


def configured_methods(config: BenchmarkConfig) -> list[MethodConfiguration]:
    """The methods of the configuration, in order."""
    return [_configuration(config, entry.full_name, entry.method, entry.options) for entry in config.methods]


def configured_controls(config: BenchmarkConfig) -> list[MethodConfiguration]:
    """The controls that look at one map at a time; the greedy order depends on the protocol."""
    controls = config.controls
    found = [
        _configuration(
            config, f"{RANDOM}_{i}", "random", {"seed": derive_seed(config.seed, "random", i)}, True
        )
        for i in range(controls.random_seeds)
    ]
    if controls.center_prior:
        found.append(_configuration(config, "center_prior", "center_prior", {}, True))
    if controls.sobel:
        found.append(_configuration(config, "sobel", "sobel", {}, True))
    if controls.raw_attention:
        found.append(
            _configuration(config, "raw_last_layer", "raw_attention", {"layers": "last_layer"}, True)
        )
    return found


def greedy_configuration(config: BenchmarkConfig) -> MethodConfiguration:
    """The greedy order of occlusion."""
    return MethodConfiguration(GREEDY, GREEDY, {}, True, digest({"method": GREEDY}))


def digest(content: Any, length: int = 12) -> str:
    """The first hex digits of the sha256 of canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return sha256(text.encode()).hexdigest()[:length]


def _configuration(
    config: BenchmarkConfig, name: str, method: str, options: Mapping[str, Any], control: bool = False
) -> MethodConfiguration:
    from xai.attr import full_options, resolve_method  # imports torch, which reading a run need not wait for

    code = method if is_import_path(method) else None
    method, options = resolve_method(method, options)
    full = full_options(method, options)
    if "seed" in full and "seed" not in options:
        full["seed"] = config.seed
    # an option that came later and is not used is left out, so that older runs keep their hashes
    hashed = {name: value for name, value in full.items() if (name, value) != ("rules", None)}
    content = {"method": method, "options": hashed, "explain": config.explain}
    if code is not None:  # only then, so that other runs keep their hashes
        content["code"] = code
    return MethodConfiguration(name, method, full, control, digest(content), code)
