"""docs/models.md: nothing that was tried is left out, and what failed is shown as failed."""

from architectures import ARCHITECTURES

from benchmarks.matrix import LIBRARIES, PAGE, page

WORKS = dict.fromkeys(
    ("pixels", "gradients", "feature_map", "attention", "global_attention", "read_out_token")
)
ROWS = [
    {
        "name": "timm/good",
        "errors": {},
        "regions": "4×4+1",
        "needs": WORKS,
        "default": "faithful",
        "curves": {"vit": 0.5, "rise": 0.2},
        "attention": {"layers": 3, "compared": 3, "weighted": 3, "error": 2e-7},
    },
    {
        "name": "timm/windows",
        "errors": {},
        "regions": "14×14",
        "needs": WORKS | {"global_attention": "windows only", "read_out_token": "windows only"},
        "default": "one_pass",
        "curves": {"vit": 0.5, "rise": 0.2},
        "attention": {"layers": 6, "compared": 4, "weighted": 0, "error": 0.3},
    },
    {
        "name": "timm/halfway",
        "errors": {"default": "ValueError: a map is constant"},
        "regions": "14×14",
        "needs": WORKS | {"attention": "no call", "global_attention": "no call", "read_out_token": "no call"},
    },
    {"name": "torchvision/broken", "errors": {"load": "no such weights"}},
]


def rows_of(text: str) -> dict[str, list[str]]:
    cells = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")
    ]
    return {one[0]: one[1:] for one in cells}


def test_failures_stand_in_their_row_and_with_their_message() -> None:
    text = page(ROWS, {"torch": "1.2"})
    rows = rows_of(text)
    assert rows["good"] == [
        "yes", "4×4+1", "faithful", "yes", "yes", "yes", "yes", "–", "yes",
        "A and A ⊙ ∂y/∂A, 3 layers: 2e-07",
    ]  # fmt: skip
    assert rows["windows"][6:8] == ["–", "yes"]
    assert rows["windows"][-1] == "**differs**, A, 4 of 6 layers: 3e-01"
    assert rows["halfway"][2:4] == ["**failed**", "**failed**"]
    assert rows["broken"] == ["–", "–", *["**failed**"] * 8]
    assert "- timm/halfway, default: ValueError: a map is constant" in text
    assert "- torchvision/broken, load: no such weights" in text
    assert "- attention, global attention, read out token: “no call” timm/halfway." in text
    assert rows["timm"] == ["3", "3", "2", "3", "3", "1", "1", "1", "1"]
    assert rows["torchvision"][:3] == ["1", "0", "0"]


def test_the_page_holds_every_architecture() -> None:
    text = PAGE.read_text("utf-8")
    for library, title in LIBRARIES.items():
        part = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        names = {name.partition("/")[2] for name in ARCHITECTURES if name.startswith(f"{library}/")}
        assert set(rows_of(part)) - {"architecture", "---"} == names
