#!/usr/bin/env bash
# torch 2.13.0 on an x86-64 processor (MKL): batched matrix products in float32 whose inner dimension is padded with zeros, as attention
# weights and values of sequences of different lengths in one cache are.
#
# Guess: zeros add nothing, so a padded product is the unpadded one to the bit; or, where sums are blocked by length, none is.
# Seen (AMD EPYC with AVX-512): it depends on the number of rows. With one, two or three rows every padded
# product is equal to the bit; with four rows most lengths from about 100 on give other bits. Splitting four rows into two and two
# makes them equal again. So with grouped-query attention the answer for a sequence depends on the longest sequence beside it where four or
# more query heads share a key head (Llama 3, Gemma 3), and not with two or three (Qwen3-0.6B, SmolLM2).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch

LENGTHS, PADDED, WIDTH = (120, 180, 220, 250, 300), (224, 256, 288, 320, 384, 512), 64


def padded_alike(product, rows):
    """How many of the padded products are equal to the unpadded ones, and of how many."""
    torch.manual_seed(0)
    pairs = [(length, keys) for length in LENGTHS for keys in PADDED if keys >= length + 32]
    equal = 0
    for length, keys in pairs:
        weights, values = torch.rand(2, rows, keys), torch.randn(2, keys, WIDTH)
        weights[0, :, length:] = 0
        few = -(-length // 32) * 32
        equal += torch.equal(product(weights, values)[0], product(weights[:1, :, :few].contiguous(), values[:1, :few].contiguous())[0])
    return equal, len(pairs)


def in_twos(weights, values):
    return torch.cat([part @ values for part in weights.split(2, 1)], 1)


print("torch", torch.__version__, torch.backends.cpu.get_cpu_capability())
found = {rows: padded_alike(torch.matmul, rows) for rows in (1, 2, 3, 4)}
split = padded_alike(in_twos, 4)
print("equal of padded products by rows:", found, "| four rows in twos:", split)
assert all(found[rows][0] == found[rows][1] for rows in (1, 2, 3)), found
assert found[4][0] < found[4][1] / 2, found
assert split[0] == split[1], split
PY
echo "as described"
