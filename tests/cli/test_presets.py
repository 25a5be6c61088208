"""`xai explain --preset`: a method and its options under one name."""

import json

import pytest
from tiny_detector import write_photos

from xai.attr import COMPARED, DEFAULT_PRESET, OPTIONS_METHOD, PRESETS


@pytest.fixture
def explained(tmp_path, xai_command, detector):
    """Explain one photo; returns the method that was recorded."""
    write_photos(tmp_path / "in", 1)

    def run(*arguments: str) -> dict:
        found = xai_command("explain", "in", "--config", detector, "--json", *arguments)
        assert found.code == 0, found.stderr
        return json.loads(found.stdout)["explanations"][0]["method"]

    return run


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS.keys())
def test_a_preset_is_its_method_with_its_options(explained, preset):
    method = explained("--preset", preset.name)
    assert method["name"] == preset.method
    assert {name: method["options"][name] for name in preset.options} == dict(preset.options)


def test_faithful_is_the_default(explained):
    assert explained("--preset", "faithful") == explained()


def test_an_option_given_beside_it_wins(explained):
    assert explained("--preset", "script", "--layers", "all_layers")["options"]["layers"] == "all_layers"


def test_an_unknown_preset_names_the_nearest(tmp_path, xai_command):
    run = xai_command("explain", tmp_path, "--preset", "localization")
    assert run.code == 2
    assert "There is no preset 'localization'" in run.stderr and "localisation" in run.stderr


def test_preset_and_method_are_one_too_many(tmp_path, xai_command):
    run = xai_command("explain", tmp_path, "--preset", "faithful", "--method", "chefer")
    assert run.code == 2
    assert "--method and --preset name a method each" in run.stderr


def test_xai_methods_shows_them(xai_command):
    run = xai_command("methods")
    assert all(name in run.stdout for name in PRESETS)


def test_the_help_names_what_the_registry_holds(xai_command):
    """It is written out, since reading it from the registry would import torch before any help is shown."""
    explain, compare = (
        " ".join(xai_command(command, "--help").stdout.replace("│", " ").split())
        for command in ("explain", "compare")
    )
    assert f"A method with its options: {', '.join(PRESETS)} (xai methods)" in explain
    assert "where options of its are given" in explain and OPTIONS_METHOD in explain
    assert DEFAULT_PRESET.name in explain
    assert ", ".join(COMPARED) in compare
