"""Hostile and broken YAML: of a detector, of a method, of a benchmark."""

from pathlib import Path
from random import Random
from typing import Any

import yaml

from benchmarks.robustness.mutate import DEEP, NAMES, broken_bytes, changed_tree, odd_yaml_value
from benchmarks.robustness.valid import LARGE, METHOD, MODEL, SMALL, TUNED, Valid
from benchmarks.robustness.watch import MARKER

SCALARS = (
    "2026-99-99",
    "2026-02-30T25:61:61",
    "9" * 5000,
    "0x" + "f" * 5000,
    "1:99:99",
    "190:20:30",
    "0b2",
    ".inf",
    "-.NaN",
    "!!bool maybe",
    "!!int x",
    "!!float x",
    "!!timestamp x",
    "!!binary ###",
    "!!null 1",
    "!!set [a]",
    "!!omap {a: 1}",
    "!!pairs [a]",
    "!!str [a]",
    "!unknown x",
    "!!python/name:os.system",
    "*nobody",
    "&a *a",
    "@x",
    "`x",
    "%x",
    "|",
    ">",
    "? a",
    "- ",
    "{",
    "[",
    "'",
    '"',
    "\t",
    "1e999",
    "0o9",
    "_",
    "1_",
    "~",
    "yes",
    "No",
    "<<",
    "=",
    "\\x",
    '"\\ud800"',
    '"\\x"',
    "--- a",
    "...",
)


def detector(rng: Random, valid: Valid, folder: Path) -> list[str]:
    """A detector's YAML; the weights it names are right."""
    content = MODEL | {"weights": str(valid.weights)}
    if rng.random() < 0.3:
        content |= rng.choice(
            (
                {"resize_to": 36},
                {"normalize_features": True},
                {"head_activation": "relu"},
                {"hidden_act": "gelu"},
                {"num_attention_heads": 2},
                {"ignore_keys": ["x"]},
                {"backbone": "local:x"},
                {"clip_path": "x"},
                {"factory": "torch.nn:Identity"},
                {"factory": "no.such:Thing", "kwargs": {"a": 1}},
            )
        )
    path = folder / "d.yaml"
    if rng.random() < 0.04:
        path.write_text(_factory(rng, folder))
    else:
        written(rng, path, content)
    if rng.random() < 0.6:
        return ["doctor", str(path)]
    return ["explain", str(valid.photo), "--config", str(path), *METHOD, "--out", "out"]


def method(rng: Random, valid: Valid, folder: Path) -> list[str]:
    """A method's YAML, as `xai tune` writes it."""
    content = TUNED
    if rng.random() < 0.5:
        cheap = {
            "attention_rollout": {"discard_ratio": 0.1},
            "chefer": {},
            "legrad": {},
            "mask_gradient": {},
            "grad_cam": {"layers": [-1]},
            "rise": {"n_masks": 8},
            "input_x_gradient": {},
            "raw_attention": {"layers": [0]},
            "integrated_mask_gradient": {"n_steps": 2},
            "occlusion": {},
        }
        name = rng.choice(list(cheap))
        content = {"method": name, "options": cheap[name]}
    path = written(rng, folder / "m.yaml", content)
    model = ["--config", str(valid.detector)] if rng.random() < 0.5 else ["--model", f"local:{valid.hf}"]
    return [
        "explain",
        str(valid.photo),
        "--method-config",
        str(path),
        *model,
        "--target",
        "fake",
        "--out",
        "out",
    ]


def benchmark(rng: Random, valid: Valid, folder: Path) -> list[str]:
    """A benchmark's YAML: asked what it would cost, tuned by, or run where it is small."""
    data = rng.choice(
        (
            {"manifest": str(valid.manifest)},
            {"images": [str(valid.photos / "?.png")]},
            {"shards": [str(valid.tar)]},
            {"manifest": str(valid.manifest), "limit": 2},
            {"forgeries": {"photos": str(valid.photos), "count": 2, "kinds": ["noise"], "size": 32}},
        )
    )
    model = valid.detector
    if rng.random() < 0.02:
        model = folder / "d.yaml"
        model.write_text(_factory(rng, folder))
    small = rng.random() < 0.4
    content = {
        "name": "b",
        "model": {"config": str(model)},
        "data": data,
        **(SMALL if small else LARGE),
    }
    path = written(rng, folder / "b.yaml", content)
    if small and rng.random() < 0.25:
        return ["benchmark", "run", str(path), "--out", "run", "--json"]
    if rng.random() < 0.05:
        return ["tune", str(path), "--out", "tuned.yaml", "--folds", "2"]
    return ["benchmark", "run", str(path), "--dry-run"]


def written(rng: Random, path: Path, content: dict[str, Any]) -> Path:
    """The content, changed as a tree, as text or as bytes, in a file; mostly the first."""
    how = rng.random()
    if how < 0.6:
        text = _dumped(changed_tree(rng, content, odd_yaml_value))
    elif how < 0.85:
        text = _odd_text(rng, content)
    else:
        text = yaml.safe_dump(content, sort_keys=False)
    data = text.encode("utf-8", "surrogatepass")
    if how >= 0.85:
        data = broken_bytes(rng, data)
    elif rng.random() < 0.05:
        data = rng.choice(
            (
                b"\xef\xbb\xbf" + data,
                text.encode("utf-16", "surrogatepass"),
                data + b"\x00",
                b"",
                data.replace(b"\n", b"\r\n"),
                b"\xff" + data,
                b"\t" + data,
                b"---\n" + data + b"---\na: 1\n",
            )
        )
    path.write_bytes(data)
    return path


def _dumped(content: Any) -> str:
    try:
        return yaml.safe_dump(content, sort_keys=False)
    except (yaml.YAMLError, RecursionError, TypeError, ValueError):  # what the writer does not write
        return repr(content)


def _odd_text(rng: Random, content: dict[str, Any]) -> str:
    """What only the text of a YAML file can say."""
    lines = yaml.safe_dump(content, sort_keys=False).splitlines()
    at = rng.randrange(len(lines))
    head, colon, _ = lines[at].partition(":")
    key = head.strip(" -") or "name"
    how = rng.randrange(9)
    if how < 4:
        lines[at] = f"{head}{colon} {rng.choice(SCALARS)}"
    elif how == 4:
        lines.insert(
            at,
            rng.choice(
                (
                    lines[at],
                    "\tname: x",
                    "? [a, b]\n: 1",
                    "<<: {a: 1}",
                    "<<: 1",
                    "<<: [*x]",
                    "'': 1",
                    "null: 1",
                    "1: 1",
                    "[1]: 2",
                    "{a: 1}: 2",
                    "&a a: *a",
                    "# ä",
                    "a b c",
                    ": x",
                )
            ),
        )
    elif how == 5:
        depth = rng.choice(DEEP)
        opened, closed = rng.choice((("[", "]"), ("{a: ", "}"), ("- ", ""), ("[", "")))
        lines[at] = f"{head}{colon} {opened * depth}1{closed * depth}"
    elif how == 6:
        lines.append(_aliases(rng, key))
    elif how == 7:
        lines[at] = f"{head}{colon} " + rng.choice(_code(rng))
    else:
        lines = [*lines[:at], *rng.choice(_code(rng)).splitlines()]
    return "\n".join(lines) + "\n"


def _aliases(rng: Random, key: str) -> str:
    """Anchors that hold themselves, or each other many times over."""
    pick = rng.randrange(4)
    if pick == 0:
        return f"{key}: &a {{x: *a}}"
    if pick == 1:
        return f"{key}: &a [*a, *a]"
    depth, width = rng.choice(((4, 3), (9, 9), (12, 9), (30, 2)))
    rows = ["x0: &x0 [a, a]"]
    rows += [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * width)}]" for n in range(1, depth)]
    return "\n".join([*rows, f"{key}: *x{depth - 1}"])


def _factory(rng: Random, folder: Path) -> str:
    """A detector that is a call of any function, or a module beside the file: both make the marker."""
    (folder / "beside.py").write_text(f"import pathlib\npathlib.Path({MARKER!r}).touch()\nThing = dict\n")
    called = rng.choice(
        (
            f'factory: "os:system"\nkwargs: {{command: "touch {MARKER}"}}\n',
            f'factory: "subprocess:call"\nkwargs: {{args: [touch, {MARKER}]}}\n',
            f'factory: "builtins:open"\nkwargs: {{file: {MARKER}, mode: w}}\n',
            'factory: "beside:Thing"\nkwargs: {a: 1}\n',
            'factory: "beside:no.such"\n',
        )
    )
    return called + "labels: [a, b]\nresolution: 32\n"


def _code(rng: Random) -> tuple[str, ...]:
    """What would run a harmless command, were tags, names or templates followed."""
    touch = f"touch {MARKER}"
    return (
        f'!!python/object/apply:os.system ["{touch}"]',
        f'!!python/object/new:os.system ["{touch}"]',
        f'!!python/object/apply:subprocess.check_output [["touch", "{MARKER}"]]',
        "!!python/module:os",
        "!!python/object:os.system {}",
        f'factory: "os:system"\nkwargs: {{command: "{touch}"}}\nlabels: [a, b]',
        f'factory: "os:popen"\nkwargs: {{cmd: "{touch}"}}\nlabels: [a, b]',
        f'factory: "subprocess:call"\nkwargs: {{args: [touch, {MARKER}]}}\nlabels: [a, b]',
        f"\"{{{{ cycler.__init__.__globals__.os.system('{touch}') }}}}\"",
        f"${{{{{touch}}}}}",
        f"$({touch})",
        rng.choice(NAMES[:8]).replace("\x00", ""),
    )
