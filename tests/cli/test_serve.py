"""`xai serve`: which models it offers, what it says, what it refuses; the page is tested in tests/serve."""

import socket
import sys

import pytest

from xai.serve.server import PageServer


@pytest.fixture
def begun(monkeypatch):
    """What the server would serve; it ends at once."""
    made = []

    def serve_page(self):
        self._listening.close()

    def init(self, models, settings, limits, port):
        made.append({"models": models, "settings": settings, "limits": limits, "port": port})
        self.address, self._listening = "http://127.0.0.1:1/token/", socket.socket()

    monkeypatch.setattr(PageServer, "__init__", init)
    monkeypatch.setattr(PageServer, "serve_page", serve_page)
    return made


def test_the_shipped_detector_is_served_and_the_address_is_said(xai_command, begun):
    run = xai_command("serve")
    assert run.code == 0, run.stderr
    assert list(begun[0]["models"]) == ["demo"]
    assert "http://127.0.0.1:1/token/" in run.stderr
    assert run.stderr.rstrip().endswith("Stopped.")
    assert not run.stdout
    settings = begun[0]["settings"]
    assert (settings.target, settings.seed, settings.batch_size) == (None, 0, 8)


def test_models_and_settings_are_those_of_explain(xai_command, begun, detector):
    given = ["--config", detector, "--also", "local:other", "--target", "fake", "--seed", 3]
    run = xai_command("serve", *given, "--max-images", 2, "--max-megabytes", 3, "--max-megapixels", 4)
    assert run.code == 0, run.stderr
    models, settings, limits = (begun[0][name] for name in ("models", "settings", "limits"))
    assert list(models) == [str(detector), "local:other", "demo"]
    loaded = models[str(detector)]()
    assert loaded.labels == ("real", "fake")
    assert settings.faces(loaded) is None
    assert (settings.target, settings.seed) == (["fake"], 3)
    assert (limits.images, limits.megabytes, limits.megapixels) == (2, 3, 4)
    assert models["demo"]().name == "demo"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--model", "demo", "--config", "a.yaml"], "--model and --config both name a model."),
        (["--weights", "a.pth"], "--weights needs --config"),
    ],
)
def test_options_that_contradict_each_other(xai_command, begun, given, said):
    run = xai_command("serve", *given)
    assert run.code == 2
    assert said in run.stderr
    assert not begun


def test_a_port_that_is_taken(xai_command):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = xai_command("serve", "--port", port)
    assert run.code == 2
    assert f"Port {port} cannot be had" in run.stderr


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_what_is_not_installed_is_named(xai_command, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    run = xai_command("serve")
    assert run.code == 2
    assert f"xai serve needs {package}, which is not installed." in run.stderr
    assert "pip install 'vit-xai[serve]'" in run.stderr
