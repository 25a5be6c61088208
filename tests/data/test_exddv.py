"""ExDDV.csv: clicks as shares of the whole frame become pixels of the frames that are there."""

import pytest
from PIL import Image

from xai.core import ConfigError, DataError
from xai.data import load_samples, read_manifest
from xai.data.exddv import read_exddv
from xai.data.manifest import manifest_csv

HEAD = "id,username,movie_name,text,dataset,manipulation,click_locations,difficulty,split\n"
ROWS = """\
0,A,000_003.mp4,"The lips, trembling.",Farceforensics++,Deepfakes,"{""100"": {""x"": 0.5, ""y"": 0.25}, ""7"": {""x"": 0, ""y"": 1}}",3,test
1,B,000_003.mp4,Shadow.,Farceforensics++,Face2Face,"{""100"": {""x"": 0.75, ""y"": 0.5}}",2,test
2,B,000_003.mp4,Again.,Farceforensics++,Deepfakes,"{""100"": {""x"": 0.1, ""y"": 0.1}, ""9"": {""x"": 0.1, ""y"": 0.1}}",2,test
3,B,553_W040.mp4,Nothing clicked.,Deeperforensics,end_to_end,{},2,test
4,B,003_000.mp4,Of the training.,Farceforensics++,Deepfakes,"{""1"": {""x"": 0.1, ""y"": 0.1}}",2,train
"""  # noqa: E501 - lines of a table


@pytest.fixture
def table(tmp_path):
    for method, name, numbers in (
        ("Deepfakes", "000_003", ("007", "100")),
        ("Face2Face", "000_003", ("100",)),
        ("Deepfakes", "003_000", ("1",)),
    ):
        folder = tmp_path / "frames" / method / name
        folder.mkdir(parents=True)
        for number in numbers:
            Image.new("RGB", (64, 48)).save(folder / f"{number}.png")
    (tmp_path / "ExDDV.csv").write_text(HEAD + ROWS)
    return tmp_path / "ExDDV.csv"


def test_clicks_become_pixels_of_the_frame_they_were_made_on(table, tmp_path):
    found = read_exddv(table, [tmp_path / "frames"])
    clicks = {(row.kind, row.path.stem): row.clicks for row in found.rows}
    assert clicks == {
        ("Deepfakes", "100"): "31.5:11.5 5.9:4.3",
        ("Deepfakes", "007"): "-0.5:47.5",
        ("Face2Face", "100"): "47.5:23.5",
    }
    assert {(row.label, row.group) for row in found.rows} == {("fake", "000_003")}
    assert [path.name for path in found.missing] == ["9.png"] and found.videos == 2
    (tmp_path / "manifest.csv").write_text(manifest_csv(found.rows, tmp_path))
    samples = load_samples(read_manifest(tmp_path / "manifest.csv"))
    assert [len(sample.clicks) for sample in samples] == [2, 1, 1], "each lies inside of its frame"


def test_the_split_is_the_table_s(table, tmp_path):
    assert [row.path.parent.name for row in read_exddv(table, [tmp_path / "frames"], split="train").rows] == [
        "003_000"
    ]
    assert len(read_exddv(table, [tmp_path / "frames"], split="all").rows) == 4


@pytest.mark.parametrize("clicks", ["{1: 2}", '{""1"": {""x"": 1.5, ""y"": 0}}', '{""1"": [0, 0]}', "[]"])
def test_clicks_that_are_none_are_refused_with_their_line(table, tmp_path, clicks):
    table.write_text(HEAD + f'0,A,000_003.mp4,Text.,F,Deepfakes,"{clicks}",3,test\n')
    with pytest.raises(ConfigError, match="ExDDV.csv:2: click_locations are no clicks"):
        read_exddv(table, [tmp_path / "frames"])


def test_without_frames_it_says_what_was_looked_for(table, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="4 looked for.*Deepfakes/000_003/100.png"):
        read_exddv(table, [tmp_path / "empty"])
    with pytest.raises(DataError, match="--root"):
        read_exddv(table, [])
