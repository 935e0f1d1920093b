"""The files that steps exchange: what one writes another reads, files of earlier versions are read, and what is wrong is named."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mynah.core.errors import InputError
from mynah.data.funnel import FUNNEL_FILE, AuthorFunnel, Funnel
from mynah.data.source_records import SOURCES_FILE, SourceRecord, parse_sources, read_sources, write_sources
from mynah.models.evaluation_record import MACHINE_FILE, METRICS_FILE, Metrics, PromptSamples, SamplingMachine, write_samples
from mynah.models.evaluation_record import read_samples as samples_of
from mynah.models.verdict import VERDICT_FILE, Check, Verdict
from mynah.training.training_record import TRAINING_FILE, CanariesRecord, ContinueRecord, EpochLosses, TrainingRecord
from tests.code.card_inputs import column, continual, source, training

# As 0.1.0's first commit wrote them: before pictures, counts, canaries, losses of authors, and going on from a model.
FIRST_TRAINING = {
    "recipe": {"preset": "default", "epochs": 4, "learning_rate": 5e-4, "batch_size": 16, "seed": 42},
    "base_model": {"name": "fledgling", "revision": "", "digest": "cd" * 16},
    "data_digest": "ef" * 32,
    "held_out_digest": "01" * 32,
    "posts": 1213,
    "history": [
        {"epoch": 0, "train_loss": None, "held_out_loss": 5.154},
        {"epoch": 1, "train_loss": 4.7, "held_out_loss": 4.625},
    ],
    "best_epoch": 1,
    "steps": 76,
    "tokens": 31000,
    "seconds": 9.31,
    "device": "cpu",
    "precision": "fp32",
    "tokens_per_second": 3329.8,
    "versions": {"mynah": "0.1.0", "torch": "2.13.0+cpu", "transformers": "5.17.0"},
}
FIRST_FUNNEL = {
    "rules": "default",
    "authors": [{"author": "wren", "dropped": {"retweet": 130}, "kept": 1490, "kept_characters": 101357, "downloaded": 1620}],
    "train": 1341,
    "held_out": 149,
    "seed": 42,
}


def put(folder: Path, name: str, record: object) -> Path:
    """Write a record as an earlier version left it."""
    (folder / name).write_text(json.dumps(record), "utf-8")
    return folder


# What is written is read


def test_a_training_record_survives_its_file(tmp_path: Path) -> None:
    record = TrainingRecord.read(
        put(tmp_path, TRAINING_FILE, training(canaries={"count": 4, "seed": 1}, continual=continual("ann")))
    )
    assert (record.canaries, record.continual and record.continual.authors) == (CanariesRecord(4, 1), ("ann",))
    record.write(tmp_path)
    assert TrainingRecord.read(tmp_path) == record
    written = json.loads((tmp_path / TRAINING_FILE).read_text())
    assert written["continual"] == continual("ann")  # under the names that the file always had
    assert "continued_from" not in written  # it goes on from nothing: the registry asks by this


def test_a_funnel_survives_its_file(tmp_path: Path) -> None:
    funnel = Funnel("default", (AuthorFunnel("ann", {"short": 3}, 9, 300, {"entities": 2}, "en"),), 8, 1, 42)
    funnel.write(tmp_path)
    assert Funnel.read(tmp_path) == funnel
    assert funnel.rows() == [("Tweets downloaded", [12]), ("Retweets", [0]), ("Short tweets", [3]), ("Tweets kept", [9])]


def test_sources_survive_their_file(tmp_path: Path) -> None:
    records = [SourceRecord(**source("ann", avatar="avatar-1.png", counts={"original": 3})), SourceRecord(**source("bob, cat"))]
    write_sources(tmp_path, records)
    assert read_sources(tmp_path) == records
    assert parse_sources((tmp_path / SOURCES_FILE).read_text(), tmp_path / SOURCES_FILE) == records
    assert records[1].authors == ["bob", "cat"]


def test_an_evaluation_survives_its_files(tmp_path: Path) -> None:
    metrics, samples = (
        Metrics({"held_out_loss": 4.5, "style_auc": None}),
        (PromptSamples("", ("a", "b")), PromptSamples("I", ("I c",))),
    )
    machine, verdict = SamplingMachine("onednn-fp32", "float32", "Pi", 4), Verdict([Check("m", 1.0, 2.0, False, True, "why")])
    metrics.write(tmp_path)
    write_samples(tmp_path, samples)
    machine.write(tmp_path)
    verdict.write(tmp_path)
    assert (Metrics.read(tmp_path), samples_of(tmp_path), SamplingMachine.read(tmp_path)) == (metrics, samples, machine)
    assert Verdict.read(tmp_path) == verdict
    assert metrics.measured == {"held_out_loss": 4.5}


# Files of earlier versions


def test_the_first_versions_training_record_is_read(tmp_path: Path) -> None:
    record = TrainingRecord.read(put(tmp_path, TRAINING_FILE, FIRST_TRAINING))
    assert record.history == (EpochLosses(0, None, 5.154), EpochLosses(1, 4.7, 4.625))
    assert (record.best_loss, record.base_model.name, record.recipe_count("seed")) == (4.625, "fledgling", 42)
    assert (record.canaries, record.continual, record.continued_from, record.resumed_at) == (None, None, "", ())
    assert (record.processes, record.out_of_time, record.stopped_early) == (1, False, False)
    with pytest.raises(InputError, match=r"has no 'recipe\.batch_tokens'"):
        record.recipe_count("batch_tokens")  # it was batch_size then


def test_the_first_versions_funnel_is_read(tmp_path: Path) -> None:
    funnel = Funnel.read(put(tmp_path, FUNNEL_FILE, FIRST_FUNNEL))
    assert (funnel.authors[0].downloaded, funnel.authors[0].mended, funnel.languages) == (1620, {}, ())


def test_sources_of_before_pictures_and_counts_are_read(tmp_path: Path) -> None:
    first = {name: value for name, value in source("wren").items() if name not in ("avatar", "counts")}
    [record] = read_sources(put(tmp_path, SOURCES_FILE, [first]))
    assert (record.avatar, record.counts, record.posts) == ("", {}, 1700)


def test_a_report_of_before_machine_and_offenders_is_read(tmp_path: Path) -> None:
    check = {"metric": "m", "value": 1.0, "limit": 2.0, "at_least": True, "passed": False, "reason": "why"}
    put(tmp_path, VERDICT_FILE, {"passed": False, "failures": ["m"], "checks": [check]})
    assert Verdict.read(tmp_path).checks[0].samples == ()
    assert SamplingMachine.read(tmp_path) is None


# What is wrong, and what is strange


def test_unknown_fields_stay_out(tmp_path: Path) -> None:
    put(tmp_path, TRAINING_FILE, training(of_tomorrow=1))
    put(tmp_path, FUNNEL_FILE, {**FIRST_FUNNEL, "of_tomorrow": 1})
    put(tmp_path, SOURCES_FILE, [source("wren", of_tomorrow=1)])
    records = [TrainingRecord.read(tmp_path).to_record(), Funnel.read(tmp_path).to_record()]
    write_sources(tmp_path, read_sources(tmp_path))
    assert "of_tomorrow" not in json.dumps(records) + (tmp_path / SOURCES_FILE).read_text()


@pytest.mark.parametrize("avatar", ["../secret.png", "avatar-0.png", "/avatar-1.png", "", None, 3, ["avatar-1.png"]])
def test_a_picture_that_is_no_avatars_name_is_none(tmp_path: Path, avatar: object) -> None:
    [record] = read_sources(put(tmp_path, SOURCES_FILE, [source("wren", avatar=avatar)]))
    assert record.avatar == ""


@pytest.mark.parametrize("code", [None, 3, "en\nlicense: mit", "EN", "english"])
def test_a_language_that_is_no_code_is_none(tmp_path: Path, code: object) -> None:
    assert (
        Funnel.read(put(tmp_path, FUNNEL_FILE, {**FIRST_FUNNEL, "authors": [column("wren") | {"language": code}]})).languages
        == ()
    )


@pytest.mark.parametrize(
    ("name", "record", "said"),
    [
        (TRAINING_FILE, training(history=[{"epoch": 0, "train_loss": None, "held_out_loss": None}]), "history[0].held_out_loss"),
        (TRAINING_FILE, training(canaries={"count": 4}), "canaries.seed"),
        (TRAINING_FILE, training(continual=continual() | {"loss": {"continue": 3.0}}), "continual.loss.start over"),
        (TRAINING_FILE, training(resumed_at=[1.5]), "resumed_at[0]"),
        (TRAINING_FILE, training(out_of_time="no"), "out_of_time"),
        (FUNNEL_FILE, {**FIRST_FUNNEL, "authors": [column("a") | {"mended": {"x": -1}}]}, "authors[0].mended.x"),
        (SOURCES_FILE, [source("a", counts=[])], "[0].counts"),
        (SOURCES_FILE, [{"source": "a.csv"}], "[0].kind"),
        (METRICS_FILE, {"held_out_loss": "4"}, "held_out_loss"),
        (MACHINE_FILE, {"kernels": 1}, "kernels"),
        (VERDICT_FILE, {"passed": True, "checks": [{"metric": "m", "value": None, "limit": 1, "at_least": True, "passed": True, "reason": ""}]},
         "checks[0].passed"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_by_file_and_field(tmp_path: Path, name: str, record: Any, said: str) -> None:
    put(tmp_path, name, record)
    read = {
        TRAINING_FILE: TrainingRecord.read, FUNNEL_FILE: Funnel.read, SOURCES_FILE: read_sources, METRICS_FILE: Metrics.read,
        MACHINE_FILE: SamplingMachine.read, VERDICT_FILE: Verdict.read,
    }[name]  # fmt: skip
    with pytest.raises(InputError, match=rf"{re.escape(str(tmp_path / name))} .*'{re.escape(said)}'"):
        read(tmp_path)


def test_a_failed_check_without_a_value_fails_and_says_so(tmp_path: Path) -> None:
    check = {"metric": "m", "value": None, "limit": 1, "at_least": True, "passed": False, "reason": "why"}
    verdict = Verdict.read(put(tmp_path, VERDICT_FILE, {"passed": False, "checks": [check]}))
    assert (verdict.passed, str(verdict.failures[0])) == (False, "m is not measured, and must be at least 1: why")


def test_a_comparison_names_its_parent_as_the_file_does() -> None:
    record = ContinueRecord(3, "start over", False, 1, 2, 0, 5, 0, {"continue": 4.0, "start over": 3.9}, {}, {})
    assert (record.has_continued, record.to_record()["from"]) == (False, 3)
