"""Models of installed packages: `prefix:rest` in `xai.load`, offered as entry points of xai.models."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tiny_models as tiny
from torch import nn

import xai
from xai.core import ModelError, UsageError
from xai.models import Classifier, list_sources, sources

Install = Callable[..., None]

CODE = """\
from pathlib import Path
from transformers import ViTConfig, ViTForImageClassification
from xai.models import Preprocessing, Source

Path(__file__).with_name("MARK").write_text("imported")
asked = []

def load(rest, options):
    asked.append((rest, options))
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    return ViTForImageClassification(ViTConfig(image_size=32, patch_size=8, num_labels=3, **size)).eval()

def broken(rest, options):
    raise KeyError("lost")

def nothing(rest, options):
    return {}

def whole(rest, options):
    preprocessing = Preprocessing(size=(32, 32))
    return options.classifier(load(rest, options), ["x", "y", "z"], preprocessing, {"from": rest})

own = Source("own:NAME", "A model of this package.", load)
whole_one = Source("whole:NAME", "One that knows its preprocessing.", whole)
full = Source("full:NAME", "One that reads both.", load, ("weights", "prompts"))
fails = Source("fails:NAME", "One that fails.", broken)
empty = Source("empty:NAME", "One that makes nothing.", nothing)
other = Source("another:NAME", "One under a wrong name.", load)
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a package of one module with entry points; the registry has not looked at packages yet."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sources.SOURCES, "_offers", None)
    monkeypatch.setattr(sources.SOURCES, "_failures", {})
    monkeypatch.setattr(sources.SOURCES, "_entries", dict(sources.SOURCES.registered))

    def run(package: str, code: str = CODE, **offers: str) -> None:
        (tmp_path / f"{package}.py").write_text(code)
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {package}:{value}" for name, value in offers.items()]
        (info / "entry_points.txt").write_text("\n".join(["[xai.models]", *lines]))

    yield run
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_package_is_asked_only_for_its_own_prefix(install: Install, tmp_path: Path) -> None:
    install("offering_one", own="own")
    assert isinstance(xai.load("demo"), Classifier)
    with pytest.raises(UsageError, match="Unknown model 'owm:thing'.*own"):
        xai.load("owm:thing")
    assert not (tmp_path / "MARK").exists()
    classifier = xai.load("own:some/thing:2", labels=["a", "b", "c"], grid="4x4+1")
    assert (classifier.name, classifier.labels) == ("own:some/thing:2", ("a", "b", "c"))
    assert (classifier.grid.rows, classifier.grid.prefix) == (4, 1)
    ((rest, options),) = sys.modules["offering_one"].asked
    assert rest == "some/thing:2"
    assert (options.labels, options.grid, options.prompts) == (["a", "b", "c"], "4x4+1", None)
    assert classifier(tiny.pixels()).shape == (2, 3)


def test_a_source_may_give_a_whole_classifier(install: Install) -> None:
    install("offering_whole", whole="whole_one")
    classifier = xai.load("whole:thing", grid=(4, 4))
    assert (classifier.labels, classifier.input_size) == (("x", "y", "z"), (32, 32))
    assert classifier.describe()["from"] == "thing"
    assert classifier(tiny.pixels()).shape == (2, 3)


def test_packages_stand_in_the_list(install: Install) -> None:
    install("offering_two", own="own", broken_one="missing")
    listed = {source.prefix: source for source in list_sources()}
    assert listed["own"].summary == "A model of this package."
    assert "broken_one" not in listed
    assert list(listed)[:2] == ["demo", "FILE.yaml"]


def test_options_that_a_source_does_not_read_are_refused(install: Install, tmp_path: Path) -> None:
    install("offering_three", own="own", full="full")
    with pytest.raises(UsageError, match="reads no prompts"):
        xai.load("own:x", prompts=["a", "b"])
    with pytest.raises(UsageError, match="weights belong to a YAML file, not to own:x"):
        xai.load("own:x", weights=tmp_path / "w.pt")
    xai.load("full:x", prompts=["a", "b"], weights=tmp_path / "w.pt")
    ((_, options),) = sys.modules["offering_three"].asked
    assert (options.prompts, options.weights) == (["a", "b"], tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("package", "code", "offers", "message"),
    [
        (
            "p_import",
            "import nowhere_at_all",
            {"own": "own"},
            "package p_import cannot be used.*nowhere_at_all",
        ),
        ("p_syntax", "def", {"own": "own"}, "package p_syntax cannot be used.*SyntaxError"),
        ("p_exit", "import sys; sys.exit(3)", {"own": "own"}, "package p_exit cannot be used.*SystemExit: 3"),
        ("p_absent", CODE, {"own": "lost"}, "package p_absent cannot be used.*has no lost"),
        ("p_kind", CODE, {"own": "asked"}, "package p_kind cannot be used.*is no xai.models.Source"),
        ("p_name", CODE, {"own": "other"}, "package p_name cannot be used.*is called 'another'"),
        (
            "p_fails",
            CODE,
            {"fails": "fails"},
            "fails:x cannot be loaded: p_fails failed with KeyError: 'lost'",
        ),
        ("p_empty", CODE, {"empty": "empty"}, "empty:x cannot be loaded: p_empty returned dict, no module"),
    ],
)
def test_a_broken_package_is_one_error_that_names_it(
    install: Install, package: str, code: str, offers: dict[str, str], message: str
) -> None:
    install(package, code, **offers)
    (name,) = offers
    for _ in range(2):
        with pytest.raises(ModelError, match=message):
            xai.load(f"{name}:x")
    assert isinstance(xai.load("demo").module, nn.Module)


def test_errors_of_ours_that_a_package_raises_pass(install: Install) -> None:
    code = CODE.replace(
        'raise KeyError("lost")', 'from xai.core import UsageError; raise UsageError("No such.")'
    )
    install("p_teaches", code, fails="fails")
    with pytest.raises(UsageError, match="^No such"):
        xai.load("fails:x")


def test_a_package_cannot_take_a_name_of_ours(install: Install, tmp_path: Path) -> None:
    install("p_takes", CODE, demo="own", timm="own")
    assert xai.load("demo").name == "demo"
    with pytest.raises(UsageError, match="timm is not installed|timm cannot load|Unknown"):
        xai.load("timm:x")
    assert not (tmp_path / "MARK").exists()
