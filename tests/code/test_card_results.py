"""What the card shows of the evaluation: the metrics, the gate's verdict and what wrote the samples."""

from pathlib import Path

from card_text import table, written

from components.card.read_inputs import read_inputs
from components.card.readme import write
from mynah.models.metric_definitions import METRICS
from tests.code.card_inputs import CardInputFiles, metrics, verdict


def test_every_metric_stands_beside_the_other_models_and_the_gate(tmp_path: Path) -> None:
    everything = dict.fromkeys(METRICS, 0.25) | {
        "champion_bits_per_character": 2.0,
        "champion_gain": 0.5,
        "champion_posts": 9,
    }
    text = written(tmp_path, CardInputFiles(metrics=metrics(**everything), verdict=verdict()))
    rows = table(text, "Metric")
    assert rows[0] == ["Metric", "This model", "Base model", "Champion", "Needed", "Result"]
    named = {row[0].partition(" (")[0]: row[1:] for row in rows[1:]}
    beside = {"base_held_out_loss", "base_perplexity", "base_bits_per_character", "champion_held_out_loss"}
    columns = beside | {"champion_bits_per_character"}
    assert set(named) == {told.label for name, told in METRICS.items() if name not in columns}
    assert named["Bits per character"] == ["0.25", "0.25", "2", "", ""]
    assert named["Gain over the base model"] == ["0.25", "", "", "at least 0.1", "passed"]
    assert "on the 9 held-out posts that neither model was trained on; there this model takes 1.5 bits per character." in text
    assert {row[0] for row in table(text, "Metric", 1)[1:]} == {told.label for told in METRICS.values()}  # each has its formula


def test_a_failed_verdict_is_said_plainly_with_what_offended(tmp_path: Path) -> None:
    failed = verdict(passed=False)
    failed["checks"][0]["samples"] = [f"<b>sample</b> {place}" for place in range(9)]
    failed["checks"].append(failed["checks"][0] | {"metric": "unheard_of", "samples": []})
    text = written(tmp_path, CardInputFiles(verdict=failed))
    assert "It **did not pass** the gate: Gain over the base model, unheard of." in text
    assert "| unheard of | 0.05 |  | at least 0.1 | **failed** |" in text
    said = "**Gain over the base model** is 0.05, and must be at least 0.1: the loss fell too little.\n\n"
    offenders = text.partition(said)[2].split("\n\n")[0].splitlines()
    assert offenders == [f"- &#60;b&#62;sample&#60;/b&#62; {place}" for place in range(5)]


def test_what_wrote_the_samples_is_told_and_a_report_of_before_is_read(tmp_path: Path) -> None:
    folders = CardInputFiles().write(tmp_path)
    assert "judged by 50 samples.\n" in write(read_inputs("wren", *folders))
    (folders[2] / "machine.json").write_text(
        '{"kernels": "onednn-fp32", "weights": "float32", "processor": "<b>Pi</b>", "threads": 4}'
    )
    text = write(read_inputs("wren", *folders))
    assert "judged by 50 samples, which `onednn-fp32` wrote (float32 weights, on &#60;b&#62;Pi&#60;/b&#62;)." in text


def test_a_verdict_without_samples_is_read(tmp_path: Path) -> None:
    older = verdict(passed=False)
    del older["checks"][0]["samples"]
    assert "It **did not pass** the gate: Gain over the base model." in written(tmp_path, CardInputFiles(verdict=older))
