from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from bench_runs import EVERYTHING
from PIL import Image
from tiny_detector import classifier, photo, write_detector

from xai.bench import BenchmarkConfig, page_of_run, run_benchmark


@pytest.fixture(scope="session")
def tiny():
    torch.manual_seed(0)
    return classifier(size=(32, 32))


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """A manifest of five pictures in three groups; four have masks, one of them empty; two are real."""
    folder = tmp_path_factory.mktemp("photos")
    lines = ["path,label,mask,group"]
    for number in range(5):
        photo(number).save(folder / f"{number}.png")
        mask = np.zeros((32, 40), np.uint8)
        if number < 3:
            mask[4:20, 8 + number : 24] = 255
        Image.fromarray(mask).save(folder / f"{number}_mask.png")
        named = f"{number}_mask.png" if number < 4 else ""
        lines.append(f"{number}.png,{'fake' if number < 3 else 'real'},{named},video{number // 2}")
    (folder / "faces.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def config(photos):
    """Make a small configuration; keywords replace its parts."""

    def make(**parts) -> BenchmarkConfig:
        content = {
            "data": {"manifest": str(photos / "faces.csv")},
            "methods": ["gradient_weighted_attention", "attention_rollout"],
            "controls": {"random_seeds": 2, "sobel": False, "greedy_images": 0},
            "protocols": [{"base": "vit-mean", "name": "mean", "steps": 4}],
            "metrics": ["srg", "deletion"],
            "statistics": {"resamples": 99},
            "shard_size": 2,
            "batch_size": 8,
        }
        return BenchmarkConfig.model_validate(content | parts)

    return make


@pytest.fixture(scope="session")
def finished(config, tiny, tmp_path_factory) -> Path:
    """A finished run of `config()`; not to be changed."""
    out = tmp_path_factory.mktemp("finished")
    run_benchmark(config(), out, classifier=tiny)
    return out


@pytest.fixture(scope="session")
def write_benchmark(config):
    """Write a configuration: two protocols, maps metrics, the tiny detector, all loaded by name."""

    def write(folder: Path) -> Path:
        write_detector(folder)
        content = config(
            model="tiny.yaml",
            protocols=["vit-token", {"base": "vit-mean", "name": "mean", "steps": 4}],
            controls={"random_seeds": 2, "greedy_images": 1},
            metrics=["srg", "insertion", "gini", "rank_accuracy"],
        ).model_dump(mode="json", exclude_unset=True)
        path = folder / "bench.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


@pytest.fixture
def yaml_file(write_benchmark, tmp_path):
    """A configuration in the test's own folder, as `write_benchmark` writes it."""
    return write_benchmark(tmp_path)


@pytest.fixture(scope="session")
def everything(config, tiny, tmp_path_factory):
    """A run with everything that a page tells apart."""
    out = tmp_path_factory.mktemp("everything")
    run_benchmark(config(**EVERYTHING), out, classifier=tiny)
    return out


@pytest.fixture(scope="session")
def page(everything):
    return page_of_run(everything)
