"""A benchmark of a model with independent labels: values, records and page follow each label alone."""

import numpy as np
import pytest
import torch
from tiny_detector import Pooled, write_photos

from xai.bench import BenchmarkConfig, page_of_run, read_records, run_benchmark
from xai.core import ProblemType, UsageError
from xai.data import read_image
from xai.models import Classifier, Preprocessing

LABELS = ("blur", "swap", "gan")


def model(problem_type: str | None = "multi_label_classification") -> Classifier:
    steps = Preprocessing(size=(32, 32))
    return Classifier(
        Pooled(3, 4).eval(), LABELS, name="tiny", preprocessing=steps, problem_type=problem_type
    )


def config(folder, **protocol) -> BenchmarkConfig:
    return BenchmarkConfig.model_validate({
        "data": {"images": [str(folder / "photos")]},
        "methods": ["faithful", "chefer"],
        "controls": {"random_seeds": 1, "greedy_images": 0},
        "protocols": [{"base": "vit-mean", "steps": 4, "name": "mean", **protocol}],
        "metrics": ["deletion"],
        "checks": {"metrics": ["infidelity", "class_sensitivity"], "images": 1},
        "statistics": {"resamples": 99},
    })  # fmt: skip


def test_records_and_page_follow_the_label_alone(tmp_path):
    paths = write_photos(tmp_path / "photos", 2)
    found = model()
    run_benchmark(config(tmp_path), tmp_path / "run", classifier=found)
    records = read_records(tmp_path / "run")
    page = page_of_run(tmp_path / "run")
    assert page.problem_type is ProblemType.MULTI_LABEL
    assert page.provenance is not None and page.model["problem_type"] == "multi_label_classification"
    assert {row.name: row.preset for row in page.rows}["faithful"] == "faithful"
    for path, image in zip(paths, page.images, strict=True):
        with torch.no_grad():
            z = found(found.preprocess(read_image(path))[None])[0].double()
        mine = records[(records["image"] == image.id) & (records["protocol"] == "mean")]
        np.testing.assert_allclose(mine["clean"], float(z.max()), atol=1e-5)
        assert image.probabilities == pytest.approx(dict(zip(LABELS, z.sigmoid().tolist(), strict=True)))
        assert set(image.predicted_labels or ()) == {n for n, one in zip(LABELS, z, strict=True) if one >= 0}
        assert any(said.startswith("The labels are independent") for said in image.caveats)


def test_a_protocol_of_exclusive_classes_is_refused_before_the_work(tmp_path):
    write_photos(tmp_path / "photos", 1)
    with pytest.raises(UsageError, match="'mean' follows accuracy"):
        run_benchmark(config(tmp_path, value="accuracy"), tmp_path / "run", classifier=model())
    run_benchmark(config(tmp_path, value="accuracy"), tmp_path / "other", classifier=model(None))
