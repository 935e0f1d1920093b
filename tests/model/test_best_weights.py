"""The best epoch's weights lie in a file without a name, and come back to the bit."""

import pytest
import torch

from components.finetune.best_weights import BestWeights
from mynah.core.errors import PlatformError


def _weights(seed):
    draw = torch.Generator().manual_seed(seed)
    return {
        "matrix": torch.randn(7, 5, generator=draw),
        "half": torch.randn(3, 4, generator=draw).to(torch.bfloat16),
        "turned": torch.randn(6, 4, generator=draw).T,
        "empty": torch.empty(0),
        "number": torch.tensor(1.5),
    }


def test_the_last_set_comes_back_to_the_bit(tmp_path):
    best = BestWeights(tmp_path / "new", _weights(1))
    best.save(_weights(2))
    loaded = _weights(3)
    best.load_into(loaded)
    for found in (loaded, best.tensors(_weights(4)), best.tensors(_weights(5))):
        for name, expected in _weights(2).items():
            assert found[name].dtype == expected.dtype
            assert torch.equal(found[name], expected), name


def test_no_file_is_left_even_while_it_is_used(tmp_path):
    BestWeights(tmp_path, _weights(1)).save(_weights(2))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told(small_disk):
    with pytest.raises(PlatformError, match="no space left while writing"):
        BestWeights(small_disk(64), {"matrix": torch.zeros(1 << 18)})
