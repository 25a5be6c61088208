"""What a survey's file may hold."""

import pytest
import yaml

from xai.bench import read_survey, starter_survey
from xai.core import ConfigError


def test_what_a_survey_does_not_ask(tmp_path):
    path = tmp_path / "survey.yaml"
    path.write_text(starter_survey())
    config = read_survey(path)
    assert not config.metrics and not config.protocols and config.keep_images == 0
    as_mapping = read_survey(yaml.safe_load(starter_survey()))  # whose paths are of the working folder
    assert as_mapping.methods == config.methods and as_mapping.statistics == config.statistics
    path.write_text(starter_survey() + "metrics: [srg]\n")
    with pytest.raises(ConfigError, match="metrics: a survey scores no map"):
        read_survey(path)
    path.write_text(starter_survey() + "fram: face\n")
    with pytest.raises(ConfigError, match="unknown key 'fram'.*Did you mean 'frame'") as error:
        read_survey(path)
    assert "frame_size" in str(error.value) and "protocols" not in str(error.value)
    path.write_text(starter_survey().replace("frame: auto", "frame: faces"))
    with pytest.raises(ConfigError, match=r"survey\.yaml:\d+: frame: "):
        read_survey(path)
