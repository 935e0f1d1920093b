"""Going on from an adapter: from its own matrices where the rank is the same, and merged elsewhere."""

import pytest

from components.finetune.continue_training import continue_training
from components.finetune.parent_model import parent_from_folder
from components.finetune.step import finetune
from mynah.data.datasets import read_texts
from mynah.models import checkpoint
from mynah.models.adapter import WEIGHTS_FILE, check_adapter, is_adapter, read_base
from mynah.models.base_models import resolve
from mynah.models.scoring import score
from tests.model.continual.continued_models import settings

ADAPTER = {"lora_rank": 4, "learning_rate": 2e-2, "epochs": 1}  # in one epoch starting over comes not as far


@pytest.fixture(scope="module")
def adapter(tiny_checkpoint, data, tmp_path_factory):
    """A champion that is an adapter."""
    out = tmp_path_factory.mktemp("adapter") / "model"
    finetune(data, out, settings(tiny_checkpoint, **ADAPTER | {"epochs": 4}))
    return out


def test_an_adapter_goes_on_from_its_own_matrices(adapter, tiny_checkpoint, data, later, tmp_path, capsys):
    out = tmp_path / "model"
    record = continue_training(later, out, settings(tiny_checkpoint, **ADAPTER), parent_from_folder(adapter, data))
    found, held_out = record.continual, read_texts(later, "held_out")
    assert found.chosen == "continue"
    assert is_adapter(out)
    assert check_adapter(out).rank == 4
    assert read_base(out).digest == resolve(str(tiny_checkpoint)).weights_digest == record.base_model.digest
    assert found.loss["champion"] == pytest.approx(score(checkpoint.load(adapter), held_out).loss, abs=1e-4)
    assert found.loss["continue"] == pytest.approx(score(checkpoint.load(out), held_out).loss, abs=2e-3)
    assert "full model" not in capsys.readouterr().err


def test_where_nothing_is_learnt_the_adapter_stays_the_same_to_the_bit(adapter, tiny_checkpoint, data, later, tmp_path):
    none = settings(tiny_checkpoint, **ADAPTER | {"learning_rate": 1e-8, "schedule": "constant", "warmup": 0.9})
    record = continue_training(later, tmp_path / "model", none, parent_from_folder(adapter, data))
    assert record.continual.chosen == "continue"
    assert (tmp_path / "model" / WEIGHTS_FILE).read_bytes() == (adapter / WEIGHTS_FILE).read_bytes()


@pytest.mark.parametrize("rank", [0, 2])
def test_another_rank_starts_from_the_merged_adapter_and_gives_a_full_model(
    adapter, tiny_checkpoint, data, later, tmp_path, capsys, rank
):
    out = tmp_path / "model"
    other = settings(tiny_checkpoint, **ADAPTER | {"lora_rank": rank, "learning_rate": 5e-3})
    record = continue_training(later, out, other, parent_from_folder(adapter, data))
    assert "is an adapter of rank 4, and the recipe trains " in capsys.readouterr().err
    expected = score(checkpoint.load(adapter), read_texts(later, "held_out")).loss
    assert record.continual.loss["champion"] == pytest.approx(expected, abs=1e-4)
    assert record.base_model.digest == resolve(str(tiny_checkpoint)).weights_digest
    assert is_adapter(out) == (rank > 0 and record.continual.chosen != "continue")


def test_an_adapter_on_a_full_champion_is_merged(champion, tiny_checkpoint, data, later, tmp_path, capsys):
    record = continue_training(
        later, tmp_path / "model", settings(tiny_checkpoint, **ADAPTER), parent_from_folder(champion, data)
    )
    assert "is a full model: continuing merges the adapter of rank 4 into it at the end" in capsys.readouterr().err
    assert is_adapter(tmp_path / "model") == (record.continual.chosen != "continue")
