"""The loss over the vocabulary, part by part: it and its gradients are torch's, in less memory."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.finetune.chunked_loss import LOGITS_AT_ONCE, vocabulary_loss


@settings(max_examples=20)
@given(st.integers(1, 200), st.integers(1, 40), st.integers(2, 60), st.integers(0, 1000))
def test_the_vocabulary_loss_and_its_gradients_are_torchs(tokens, width, words, seed):
    torch.manual_seed(seed)
    hidden, weight = torch.randn(tokens, width, requires_grad=True), torch.randn(words, width, requires_grad=True)
    targets = torch.randint(0, words, (tokens,))
    theirs = torch.nn.functional.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    expected = torch.autograd.grad(theirs / 7, (hidden, weight))
    ours = vocabulary_loss(hidden, weight, targets, torch.float32)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-4, abs=1e-4)
    for found, wanted in zip(torch.autograd.grad(ours / 7, (hidden, weight)), expected, strict=True):
        assert torch.allclose(found, wanted, rtol=1e-3, atol=1e-5)


def test_many_tokens_go_through_the_vocabulary_in_parts_and_a_frozen_layer_gets_no_gradient():
    torch.manual_seed(0)
    hidden, weight = torch.randn(2 * LOGITS_AT_ONCE + 5, 8, requires_grad=True), torch.randn(30, 8)
    targets = torch.randint(0, 30, (len(hidden),))
    theirs = torch.nn.functional.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    ours = vocabulary_loss(hidden, weight, targets, torch.float32)
    (expected,), (found,) = torch.autograd.grad(theirs, hidden), torch.autograd.grad(ours, hidden)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_a_long_text_needs_no_more_memory_for_the_vocabulary_than_a_short_one():
    """5,000 tokens of GPT-2's vocabulary would be 1 GB of fp32 logits by themselves."""
    code = (
        "import resource, torch\n"
        "from components.finetune.chunked_loss import vocabulary_loss\n"
        "hidden, weight = torch.randn(5000, 16, requires_grad=True), torch.randn(50257, 16, requires_grad=True)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "vocabulary_loss(hidden, weight, torch.randint(0, 50257, (5000,)), torch.bfloat16).backward()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    taken = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout) * 1024
    assert taken < 5000 * 50257 * 4 / 2
