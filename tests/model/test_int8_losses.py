"""What rounding to int8 costs trained models on texts of people: at most 0.005 nats a token, which nobody can notice."""

import shutil

import pytest
import torch
from torch.nn.functional import cross_entropy

from mynah.decoding import int8_linear
from mynah.decoding.model import load_model
from mynah.models.base_models import FLEDGLING, resolve
from mynah.models.checkpoint import load
from mynah.models.scoring import score
from tests.model.runnable_kernels import RUNNABLE
from tests.model.small_models import logits, smollm2_file

KERNELS = [each for each in RUNNABLE if each.weights == "int8"]
WORST = 0.005  # nats a token
TEXTS = [
    "To be, or not to be, that is the question: whether 'tis nobler in the mind to suffer",
    "We the people of the United States, in order to form a more perfect union, establish justice",
    "My dream is to see the sea one day, and to hear the birds sing in the morning.",
    "Just landed in Lisbon! The light here is unreal. Who knows a good place for breakfast? #travel",
    "I can't believe they cancelled the show after one season... some people have no taste at all",
    "New paper out today: we measured how bumblebees learn routes between flowers. Thread below.",
]


def loss(model, texts):
    """Nats a token, as `mynah.models.scoring.score` has it of the same checkpoint."""
    nats = tokens = 0.0
    for text in texts:
        ids = model.encode(text)
        found = logits(model, [model.begin, *ids])
        nats += float(cross_entropy(found, torch.tensor([*ids, model.end]), reduction="sum"))
        tokens += len(ids) + 1
    return nats / tokens


@pytest.mark.parametrize("kernels", KERNELS, ids=lambda each: each.name)
def test_a_trained_gpt2_loses_nothing(kernels, tmp_path, monkeypatch):
    """Fledgling, whose narrow matrices are float32 else."""
    monkeypatch.setattr(int8_linear, "BLOCK", 1)
    folder = shutil.copytree(resolve(FLEDGLING).folder, tmp_path / "fledgling")
    model = load_model(folder, kernels)
    assert model.nbytes < 0.6 * load_model(folder, next(each for each in RUNNABLE if each.name == "torch-fp32")).nbytes
    assert loss(model, TEXTS) < score(load(folder), TEXTS).loss + WORST


@pytest.mark.slow
@pytest.mark.parametrize("kernels", KERNELS, ids=lambda each: each.name)
def test_smollm2_loses_nothing(kernels):
    smollm2_file()  # skips where it is not installed
    folder = resolve("smollm2").folder
    assert loss(load_model(folder, kernels), TEXTS) < score(load(folder), TEXTS).loss + WORST
