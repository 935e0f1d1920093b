"""What a card tells people to run is run as it stands, in the folder that it tells them to be in."""

import json
import re
import shutil

from components.card.step import card
from tests.code.card_inputs import CardInputFiles


def test_the_cards_snippet_writes_five_samples(long_checkpoint, tmp_path, monkeypatch, capsys):
    shutil.copytree(long_checkpoint, tmp_path / "bot")
    (tmp_path / "bot" / "generation_config.json").write_text(
        json.dumps({"do_sample": True, "max_new_tokens": 12, "eos_token_id": 0})
    )
    card("wren", *CardInputFiles().write(tmp_path), tmp_path / "out")
    [snippet] = re.findall("```python\n(.*?)```", (tmp_path / "out" / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path / "bot")
    capsys.readouterr()
    exec(compile(snippet, "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert said.startswith("My dream is")
    assert len(re.findall("^My dream is", said, re.MULTILINE)) >= 5
