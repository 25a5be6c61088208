"""Manifests are read lazily, with the row's number in every complaint."""

import numpy as np
import pytest
from PIL import Image

from xai.core import ConfigError, DataError, UsageError
from xai.data import Row, load_samples, read_manifest
from xai.data.manifest import manifest_csv


@pytest.fixture
def faces(tmp_path):
    for video in ("v1", "v2"):
        (tmp_path / video).mkdir()
        for frame in ("0", "1"):
            Image.new("RGB", (6, 4), "red").save(tmp_path / video / f"{frame}.png")
    Image.new("L", (6, 4), 255).save(tmp_path / "mask.png")
    Image.new("L", (3, 4), 255).save(tmp_path / "narrow.png")
    return tmp_path


def write(folder, text):
    path = folder / "faces.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_become_what_is_known_about_a_sample(faces):
    rows = read_manifest(
        write(
            faces,
            "group,path,label,mask,kind\nv1,v1/0.png,fake,mask.png,splice\nv2,v2/0.png,,,\n,v2/1.png,real,,\n",
        )
    )
    samples = load_samples(rows)
    assert samples.groups == ("v1", "v2", None)
    assert [entry.label for entry in samples.entries] == ["fake", None, "real"]
    assert len(set(samples.ids)) == 3, "two files are called 0.png"
    first, second, third = samples
    assert first.image.size == (6, 4) and first.path == faces / "v1/0.png"
    assert first.mask.shape == (4, 6) and first.mask.dtype == bool and first.mask.all()
    assert (second.label, second.mask, second.group) == (None, None, "v2")
    assert (third.id, third.label) == ("1", "real")
    assert [one.kind for one in (first, second, third)] == ["splice", None, None]


def test_only_the_path_is_needed_and_a_byte_order_mark_does_no_harm(faces):
    rows = read_manifest(write(faces, "\ufeffpath\nv1/0.png\n\nv1/1.png\n"))
    assert [row.path.name for row in rows] == ["0.png", "1.png"]
    assert rows[1].where.endswith("faces.csv:4")


def test_paths_do_not_depend_on_the_working_folder(faces, monkeypatch):
    path = write(faces, f"path\nv1/0.png\n{faces / 'v1/1.png'}\n")
    monkeypatch.chdir(faces / "v2")
    assert [sample.image.size for sample in load_samples(read_manifest(path))] == [(6, 4)] * 2


def test_what_is_written_is_read_back(faces):
    (faces / "v1/0.png").rename(faces / 'v1/a, "b".png')
    rows = [
        Row(faces / 'v1/a, "b".png', "fake", faces / "mask.png", "v 1", "splice"),
        Row(faces / "v1/1.png", group="é"),
    ]
    path = write(faces, manifest_csv(rows, faces))
    assert 'v1/a, ""b"".png' in path.read_text(encoding="utf-8") and str(faces) not in path.read_text("utf-8")
    for before, after in zip(rows, read_manifest(path), strict=True):
        assert (after.path, after.label, after.mask, after.group, after.kind) == (
            before.path, before.label, before.mask, before.group, before.kind,
        )  # fmt: skip
    elsewhere = manifest_csv(rows, faces / "v2")
    (faces / "v2/faces.csv").write_text(elsewhere, encoding="utf-8")
    assert read_manifest(faces / "v2/faces.csv")[0].path == rows[0].path


def test_images_are_read_when_asked_for(faces):
    (faces / "v1/1.png").write_bytes(b"not an image")
    samples = load_samples(read_manifest(write(faces, "path\nv1/0.png\nv1/1.png\n")))
    assert samples[0].image.size == (6, 4)
    with pytest.raises(DataError, match=r"1\.png: not an image"):
        samples[1]


def test_a_mask_is_white_from_128_on(faces):
    levels = np.array([[0, 127, 128, 255, 0, 0]] * 4, np.uint8)
    Image.fromarray(levels).save(faces / "mask.png")
    (sample,) = load_samples(read_manifest(write(faces, "path,mask\nv1/0.png,mask.png\n")))
    assert sample.mask[0].tolist() == [False, False, True, True, False, False]


def test_a_mask_of_another_size_is_a_data_error_with_the_row(faces):
    samples = load_samples(read_manifest(write(faces, "path,mask\nv1/0.png,mask.png\nv1/1.png,narrow.png\n")))
    assert samples[0].mask is not None
    with pytest.raises(DataError, match=r"faces\.csv:3: the mask .*narrow\.png has 3 × 4 .* 6 × 4"):
        samples[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'path'"),
        ("image\nv1/0.png\n", "unknown column 'image'"),
        ("path,lable\nv1/0.png,fake\n", r"unknown column 'lable'(.|\n)*mean 'label'"),
        ("label,mask\nfake,\n", "no column 'path'"),
        ("path,path\nv1/0.png,v1/1.png\n", "there twice"),
        ("path,label\nv1/0.png,fake\n,real\n", r"faces\.csv:3: no path"),
        ("path,label\nv1/0.png,fake,and,more\n", r"faces\.csv:2: more cells than columns"),
        ("path\nv1/0.png\nv1/1.png\nv1/../v1/0.png\n", r"faces\.csv:4: .* listed already at .*faces\.csv:2"),
    ],
)
def test_a_wrong_form_is_a_config_error(faces, text, message):
    with pytest.raises(ConfigError, match=message):
        read_manifest(write(faces, text))


def test_missing_files_are_named_with_their_rows(faces):
    with pytest.raises(DataError) as caught:
        read_manifest(write(faces, "path,mask\nv1/0.png,no.png\nv1/7.png,\n"))
    assert "faces.csv:2: no such mask" in caught.value.message
    assert "faces.csv:3: no such image" in caught.value.message
    many = "".join(f"x{i}.png\n" for i in range(20))
    with pytest.raises(DataError, match=r"and 15 more"):
        read_manifest(write(faces, "path\n" + many))


def test_no_row_is_an_error(faces):
    with pytest.raises(DataError, match="no row"):
        read_manifest(write(faces, "path,label\n"))


def test_what_is_no_manifest(faces):
    with pytest.raises(ConfigError, match=r"ends in \.csv or \.parquet"):
        read_manifest(faces / "faces.xlsx")
    with pytest.raises(ConfigError, match="Cannot read the manifest"):
        read_manifest(faces / "missing.csv")


def test_parquet_is_read_like_csv(faces):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.table(
        {
            "path": ["v1/0.png", "v2/0.png"],
            "group": [1, None],
            "mask": [None, "mask.png"],
            "label": ["fake", ""],
        }
    )
    parquet.write_table(table, faces / "faces.parquet")
    rows = read_manifest(faces / "faces.parquet")
    assert [(row.label, row.group) for row in rows] == [("fake", "1"), (None, None)]
    assert load_samples(rows)[1].mask is not None
    (faces / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(ConfigError, match="Cannot read the manifest"):
        read_manifest(faces / "broken.parquet")


def test_parquet_without_pyarrow_says_what_to_install(faces, monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr("xai.data.manifest.importlib.import_module", absent)
    with pytest.raises(UsageError, match=r"vit-xai\[bench\]"):
        read_manifest(faces / "faces.parquet")
