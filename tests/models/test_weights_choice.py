"""Which weights of a checkpoint run: nesting, averages beside raw weights, wrappers, floating-point types."""

import warnings

import pytest
import tiny_models as tiny
import torch
from checkpoints import assert_equal, write
from torch import nn

import xai
from xai.core import ConfigError, ModelError
from xai.models.checkpoint import open_checkpoint, read_checkpoint
from xai.models.state_dict import unwrapped

A, B = torch.arange(6.0).reshape(2, 3), torch.ones(2)
STATE = {"tower.weight": A, "head.bias": B}
OTHER = {key: value + 100 for key, value in STATE.items()}
OPTIMIZER = {"state": {0: {"step": torch.tensor(1.0), "exp_avg": A}}, "param_groups": [{"lr": 0.1}]}


def saved(folder, content):
    torch.save(content, folder / "w.pth")
    return folder / "w.pth"


def quietly(path, *options):
    """Opened, with every warning an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return open_checkpoint(path, *options)


def same(state, expected=STATE):
    return state.keys() == expected.keys() and all(torch.equal(state[k], expected[k]) for k in expected)


def prefixed(prefix, state=STATE):
    return {f"{prefix}{key}": value for key, value in state.items()}


@pytest.mark.parametrize("name", ["params", "network", "my_detector", "model_state", "weights", "module"])
def test_weights_are_found_under_any_name(tmp_path, name):
    content = {
        "epoch": 3,
        "loss": torch.tensor(0.3),
        "optimizer": OPTIMIZER,
        name: STATE,
        "args": {"lr": 0.1},
    }
    checkpoint = quietly(saved(tmp_path, content))
    assert same(checkpoint.state)
    assert checkpoint.description == {"weights_key": name}


def test_optimizer_states_are_no_weights_whatever_they_are_called(tmp_path):
    by_name = {"state": {"tower.weight": {"exp_avg": A}}, "param_groups": []}
    content = {"solver": OPTIMIZER, "fsdp": by_name, "optim": STATE, "run": {"trained": {"deep": OTHER}}}
    checkpoint = quietly(saved(tmp_path, content))
    assert same(checkpoint.state, OTHER)
    assert checkpoint.description["weights_key"] == "run.trained.deep"


def test_statistics_beside_weights_do_not_count(tmp_path):
    content = {"norm": {"mean": torch.zeros(3), "std": torch.ones(3)}, "best": {"auc": B[0]}, "model": STATE}
    assert same(quietly(saved(tmp_path, content)).state)


@pytest.mark.parametrize(
    "content",
    [
        {"student": STATE, "teacher": OTHER},
        {"state_dict": STATE, "model": OTHER},
        {"generator_a": STATE, "generator_b": OTHER, "ema": dict(OTHER)},
        {"ema_0.99": STATE, "ema_0.9999": OTHER, "model": dict(OTHER)},
    ],
)
def test_several_sets_are_refused_by_name(tmp_path, content):
    path = saved(tmp_path, content)
    with pytest.raises(ModelError, match="several sets of weights") as raised:
        open_checkpoint(path)
    assert all(name in str(raised.value) for name in content)
    chosen = next(iter(content))
    assert same(quietly(path, chosen).state)


def test_a_usual_name_goes_before_another_and_says_so(tmp_path):
    path = saved(tmp_path, {"model": STATE, "criterion": {"weight": torch.ones(4)}})
    with pytest.warns(UserWarning, match="criterion"):
        checkpoint = open_checkpoint(path)
    assert same(checkpoint.state)
    assert checkpoint.description["weights_beside"] == ["criterion"]


@pytest.mark.parametrize(
    ("raw", "average"),
    [("network", "ema_state_dict"), ("model", "averaged"), ("net", "netSWA"), ("state_dict", "polyak_avg")],
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_average_is_taken_and_said(tmp_path, raw, average, prefix):
    updates = {"n_averaged": torch.tensor(7)} if prefix else {}
    path = saved(tmp_path, {raw: OTHER, average: {**prefixed(prefix), **updates}})
    with pytest.warns(UserWarning, match=rf"averaged weights under {average}.*{raw}[\s\S]*weights_key"):
        checkpoint = open_checkpoint(path)
    assert same(unwrapped(checkpoint.state))
    assert checkpoint.description == {
        "weights_key": average,
        "weights_averaged": True,
        "weights_beside": [raw],
    }
    assert same(quietly(path, raw).state, OTHER)


def test_an_average_in_a_callback(tmp_path):
    """Lightning callbacks keep their states by class name."""
    content = {"state_dict": OTHER, "callbacks": {"EMA": {"ema_weights": STATE, "decay": 0.99}}}
    with pytest.warns(UserWarning):
        checkpoint = open_checkpoint(saved(tmp_path, content))
    assert same(checkpoint.state)
    assert checkpoint.description["weights_key"] == "callbacks.EMA.ema_weights"


@pytest.mark.parametrize("beside", ["current_model_state", "ema_state_dict"])
def test_frameworks_that_save_the_average_as_the_model(tmp_path, beside):
    """Lightning's WeightAveraging and mmengine's EMAHook: `state_dict` is the average."""
    extra = {"message_hub": {"iter": 3}} if beside == "ema_state_dict" else {"averaging_state": {"n": B[0]}}
    with pytest.warns(UserWarning, match=beside):
        checkpoint = open_checkpoint(saved(tmp_path, {"state_dict": STATE, beside: OTHER, **extra}))
    assert same(checkpoint.state)


def test_an_average_in_a_form_that_is_not_read_is_said(tmp_path):
    """torch_ema keeps a list."""
    shadow = {"decay": 0.99, "num_updates": 3, "shadow_params": [A, B]}
    with pytest.warns(UserWarning, match="ema"):
        checkpoint = open_checkpoint(saved(tmp_path, {"model": STATE, "ema": shadow, "ema_decay": 0.99}))
    assert same(checkpoint.state)
    assert checkpoint.description["weights_beside"] == ["ema"]


def test_an_average_of_other_names_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"several sets[\s\S]*weights_key: one of model, model_ema"):
        open_checkpoint(saved(tmp_path, {"model": STATE, "model_ema": {"tower.weight": A}}))


@pytest.mark.parametrize(
    ("raw", "average"), [("", "ema."), ("net.", "model_ema."), ("net.", "net_ema.module.")]
)
def test_an_average_by_the_names_of_its_weights(tmp_path, raw, average):
    path = saved(tmp_path, {"state_dict": {**prefixed(raw, OTHER), **prefixed(average)}})
    with pytest.warns(UserWarning, match="averaged weights"):
        checkpoint = open_checkpoint(path)
    assert same(unwrapped(checkpoint.state))
    assert checkpoint.description["weights_averaged"] is True
    assert same(quietly(path, None, (average,)).state, prefixed(raw, OTHER))
    if raw:
        assert same(quietly(path, f"state_dict.{raw[:-1]}").state, OTHER)


def test_an_average_of_flattened_names_is_refused_with_the_way_on(tmp_path):
    """As latent-diffusion code writes them: names without their dots."""
    flat = {f"model_ema.{key.replace('.', '')}": value for key, value in STATE.items()}
    with pytest.raises(ModelError, match=r"ignore_keys: \[model_ema\.\][\s\S]*weights_key: model_ema"):
        open_checkpoint(saved(tmp_path, {**prefixed("model."), **flat}))


def test_an_averaged_model_alone(tmp_path):
    averaged = torch.optim.swa_utils.AveragedModel(nn.Linear(3, 2))
    path = saved(tmp_path, averaged.state_dict())
    assert same(read_checkpoint(path), averaged.module.state_dict())
    assert open_checkpoint(path).description == {"weights_averaged": True}


def test_weights_key_that_is_not_there_lists_what_is(tmp_path):
    path = saved(tmp_path, {"state_dict": STATE, "run": {"teacher": OTHER}, "optimizer": OPTIMIZER})
    for key in ("state_dicts", "optimizer", "run", "run.student", "state_dict.tower.weight.x"):
        with pytest.raises(ConfigError, match=r"names no weights[\s\S]*state_dict, run\.teacher"):
            open_checkpoint(path, key)
    assert same(open_checkpoint(path, "run.teacher").state, OTHER)


def test_checkpoint_that_holds_itself(tmp_path):
    content = {"model": STATE}
    content["again"] = content
    assert same(quietly(saved(tmp_path, content)).state)


@pytest.mark.parametrize(
    "prefix",
    [
        "_orig_mod.module.",
        "module._orig_mod.",
        "module.module.",
        "_forward_module._orig_mod.",
        "_fsdp_wrapped_module.",
        "module._fsdp_wrapped_module._checkpoint_wrapped_module.",
    ],
)
def test_wrappers_in_any_order(tmp_path, prefix):
    assert same(read_checkpoint(saved(tmp_path, {"model": prefixed(prefix)})))


def test_wrappers_of_some_parts():
    names = {
        "tower._checkpoint_wrapped_module.0._orig_mod.weight": A,
        "tower._fsdp_wrapped_module.1.weight": B,
        "tower.2.weight": A,
        "head.module.bias": B,
    }
    assert list(unwrapped(names)) == ["tower.0.weight", "tower.1.weight", "tower.2.weight", "head.bias"]


def test_a_part_of_the_models_own_called_module_stays():
    names = {"tower.module.weight": A, "tower.norm.weight": B}
    assert same(unwrapped(names), names)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["module.tower.weight", "head.bias"], r"Some weights begin with module\."),
        (["_orig_mod.module.tower.weight", "_orig_mod.head.bias"], r"Some weights begin with module\."),
        (["tower.weight", "tower._orig_mod.weight"], "one name"),
        (["module.tower.weight", "module._orig_mod.tower.weight"], "one name"),
    ],
)
def test_mixed_and_colliding_names_are_refused(names, message):
    with pytest.raises(ModelError, match=message):
        unwrapped(dict.fromkeys(names, A))


def test_a_detector_inside_wrappers_and_a_training_loops_attribute(tmp_path):
    detector = tiny.BenchDetector(tiny.clip_tower())
    state = prefixed("detector._orig_mod.module.", detector.state_dict())
    state |= {"loss.weight": torch.ones(2)}
    path = write(tmp_path, {"state_dict": state, "epoch": 1}, "ignore_keys: [loss.]")
    assert_equal(xai.load(path), detector)


def test_weights_key_of_a_yaml(tmp_path):
    raw, average = tiny.BenchDetector(tiny.clip_tower()), tiny.BenchDetector(tiny.clip_tower())
    tiny.randomize(average, seed=9)
    content = {"net": raw.state_dict(), "net_ema": average.state_dict()}
    with pytest.warns(UserWarning, match="net_ema"):
        classifier = xai.load(write(tmp_path, content))
    assert_equal(classifier, average)
    assert classifier.describe()["weights_averaged"] is True
    classifier = xai.load(write(tmp_path, content, "weights_key: net"))
    assert_equal(classifier, raw)
    assert classifier.describe()["weights_key"] == "net"


@pytest.mark.parametrize(
    ("tower", "head", "widest"),
    [
        (torch.bfloat16, torch.float32, torch.float32),
        (torch.float16, torch.bfloat16, torch.float32),
        (torch.float32, torch.float16, torch.float32),
        (torch.float32, torch.float64, torch.float64),
    ],
)
def test_mixed_types_run_in_the_one_that_holds_all(tmp_path, tower, head, widest):
    detector = tiny.BenchDetector(tiny.clip_tower())
    detector.backbone.to(tower)
    detector.head.to(head)
    name = str(widest).removeprefix("torch.")
    with pytest.warns(UserWarning, match=f"several types.*brought to {name}"):
        classifier = xai.load(write(tmp_path, detector.state_dict()))
    assert classifier.dtype == widest
    assert {p.dtype for p in classifier.parameters()} == {widest}
    assert len(classifier.describe()["weights_dtypes"]) == 2
    assert_equal(classifier, lambda x: detector.to(widest)(x.to(widest)))


def test_a_module_of_mixed_types_is_told_the_way_on():
    detector = tiny.BenchDetector(tiny.clip_tower())
    detector.backbone.bfloat16()
    classifier = xai.load(detector, labels=["real", "fake"])
    with pytest.raises(ModelError, match=r"mixes floating-point types[\s\S]*dtype=\"float32\""):
        classifier(tiny.pixels())
    assert xai.load(detector, labels=["real", "fake"], dtype="float32")(tiny.pixels()).isfinite().all()


class CastsItself(nn.Module):
    """A half tower whose feature the module itself casts for its head."""

    def __init__(self):
        super().__init__()
        self.tower = nn.Linear(4, 4).bfloat16()
        self.head = nn.Linear(4, 2)

    def forward(self, pixels):
        return self.head(self.tower(pixels.flatten(1)[:, :4]).float())


def test_a_module_that_casts_by_itself_still_runs():
    classifier = xai.load(CastsItself(), labels=["real", "fake"])
    assert classifier(tiny.pixels()).shape == (2, 2)


def test_an_average_kept_as_a_list_by_a_callback_is_named(tmp_path):
    detector = tiny.BenchDetector(tiny.clip_tower())
    average = [p.detach() * 2 for p in detector.parameters()]
    content = {"state_dict": detector.state_dict(), "callbacks": {"Smoothing": {"ema_weights": average}}}
    with pytest.warns(UserWarning, match=r"callbacks\.Smoothing\.ema_weights"):
        classifier = xai.load(write(tmp_path, content))
    assert classifier.describe()["weights_beside"] == ["callbacks.Smoothing.ema_weights"]
    assert_equal(classifier, detector)
