"""`xai compare`, `xai methods` and `xai demo`."""

import json

from page_files import page_of
from safetensors.numpy import load_file
from tiny_detector import write_photos

from xai.attr import COMPARED, DEFAULT_PRESET, METHODS
from xai.data import shipped_samples


def test_compare_draws_methods_by_images(tmp_path, xai_command, detector):
    write_photos(tmp_path / "in", 2)
    methods = "gradient_weighted_attention,attention_rollout,center_prior"
    run = xai_command(
        "compare", "in", "--config", detector, "--methods", methods, "--target", "fake",
        "--layers", "last_layer", "--json", "--csv", "lines.csv",
    )  # fmt: skip
    assert run.code == 0, run.stderr
    content = json.loads(run.stdout)
    assert content["class"] == "fake"
    assert [list(row) for row in content["images"]] == [methods.split(",")] * 2
    first = content["images"][0]["gradient_weighted_attention"]
    assert first["method"]["options"]["layers"] == "last_layer"
    out = tmp_path / "attention_results"
    assert sorted(path.name for path in out.iterdir()) == [
        "method_panel.json",
        "method_panel.png",
        "method_panel.safetensors",
    ]
    assert set(load_file(out / "method_panel.safetensors")) == {
        f"{stem}/{method}" for stem in "01" for method in methods.split(",")
    }
    assert "Next: open " in run.stderr
    lines = (tmp_path / "lines.csv").read_text("utf-8").splitlines()
    assert len(lines) == 1 + 2 * 3 and "last_layer" in lines[1] and "center_prior" in lines[3]


def test_without_methods_what_explain_draws_comes_first(tmp_path, xai_command, detector):
    write_photos(tmp_path / "in", 1)
    run = xai_command("compare", "in", "--config", detector, "--json")
    assert run.code == 0, run.stderr
    (row,) = json.loads(run.stdout)["images"]
    assert list(row) == [DEFAULT_PRESET.method, *COMPARED]
    explained = xai_command("explain", "in", "--config", detector, "--out", "alone", "--json")
    (alone,) = json.loads(explained.stdout)["explanations"]
    assert row[DEFAULT_PRESET.method]["method"] == alone["method"]


def test_compare_writes_a_page_beside_the_picture(tmp_path, xai_command, detector):
    write_photos(tmp_path / "in", 2)
    methods = ["gradient_weighted_attention", "saliency", "random"]
    run = xai_command(
        "compare", "in", "no.png", "--config", detector, "--methods", ",".join(methods), "--report", "--json"
    )
    assert run.code == 4, run.stderr
    out = tmp_path / "attention_results"
    page = page_of(out / "index.html")
    assert (page.kind, page.shown) == ("comparison", (2, 3))
    assert page.title.startswith("2 methods compared. 2 images judged by tiny.yaml, ")
    assert [(row.name, row.control) for row in page.rows] == list(
        zip(methods, [False, False, True], strict=True)
    )
    assert page.classes == [json.loads(run.stdout)["class"]]
    for image in page.images:
        assert [one.row for one in image.removals] == methods
        assert image.agreement is not None and image.disagreement is not None
    assert "Next: open attention_results/index.html" in run.stderr
    assert (out / "method_panel.png").is_file()


def test_compare_with_a_broken_image_and_with_none(tmp_path, xai_command, detector):
    write_photos(tmp_path / "in", 1)
    command = ["compare", "--config", detector, "--methods", "raw_attention", "no.png"]
    run = xai_command(*command, "in")
    assert run.code == 4
    assert len(run.stdout.splitlines()) == 2
    assert "Failed: no.png: no such file" in run.stderr
    run = xai_command(*command)
    assert (run.code, run.stdout) == (3, "")
    run = xai_command(*command, "in", "--methods", "raw_atention")
    assert run.code == 2
    assert "Did you mean 'raw_attention'?" in run.stderr
    run = xai_command(*command, "in", "--methods", ",")
    assert run.code == 2
    assert "There is no method to compare." in run.stderr


def test_methods_as_json_have_the_agreed_fields(xai_command):
    listed = json.loads(xai_command("methods", "--json").stdout)
    assert {entry["name"] for entry in listed} == set(METHODS)
    fields = "name family class_sensitive signed deterministic forwards backwards reference package"
    assert all(set(entry) == set(fields.split()) for entry in listed)
    (one,) = json.loads(xai_command("methods", "attention_rollout", "--json").stdout)
    assert one["reference"] == METHODS["attention_rollout"].info.reference
    assert one["package"] == "xai"


def test_methods_shows_one_with_its_options(xai_command):
    run = xai_command("methods", "gradient_weighted_attention")
    assert run.code == 0
    assert "layer_fusion" in run.stdout
    run = xai_command("methods", "rollout")
    assert run.code == 2
    assert "Did you mean 'attention_rollout'?" in run.stderr


def test_demo_explains_the_shipped_images(tmp_path, xai_command):
    run = xai_command("demo", "--out", "out")
    assert run.code == 0, run.stderr
    samples = shipped_samples()
    assert [line.split()[0] for line in run.stdout.splitlines()[1:]] == [sample.id for sample in samples]
    page = page_of(tmp_path / "out" / "index.html")
    assert [image.id for image in page.images] == [sample.id for sample in samples]
    for sample, image in zip(samples, page.images, strict=True):
        assert (tmp_path / "out" / f"{sample.id}_comparison.png").is_file()
        assert image.label == sample.label and bool(image.mask) == (sample.mask is not None)
        assert set(image.products) == {"real", "fake"}
    assert (tmp_path / "out" / "index.html").stat().st_size < 1_000_000
    assert f"Pictures and page: {tmp_path / 'out'}" in run.stderr
    forged = json.loads((tmp_path / "out" / "cat_fake_explanation.json").read_text("utf-8"))
    assert isinstance(forged["maps"]["fake"]["points_into_mask"], bool)
