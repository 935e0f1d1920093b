#!/usr/bin/env bash
# torch 2.13.0 (CPU, x86-64), FBGEMM's linear layer with float16 weights (quantized::linear_dynamic_fp16).
#
# Guess: a row of the result depends on that row of the input alone, or at least changes with the batch in no pattern.
# Seen on processors with AVX2 and without AVX-512: the bits of a row depend on how FBGEMM splits the batch. Rows are taken in blocks of
# up to six; blocks of one or two rows add in another order than blocks of three to six. So batches of 1, 2, 7, 14, 31, 32, 37, 38, …
# rows give some rows other bits, and no batch whose size is a multiple of three does. Padding to the next multiple of three makes the
# layer independent of the batch, which torch's own float32 linear is at no padding.
# Elsewhere (AVX-512, ARM64) the blocks are others; the script says so and checks nothing.
set -euo pipefail
if [ "$(uname -m)" != x86_64 ] || grep -q avx512 /proc/cpuinfo || ! grep -q avx2 /proc/cpuinfo; then
  echo "not an x86-64 processor with AVX2 and without AVX-512: nothing to see here"
  exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import torch

torch.manual_seed(0)
packed = torch.ops.quantized.linear_prepack_fp16(torch.randn(192, 96), torch.zeros(192))
rows = torch.randn(120, 96)
whole = torch.ops.quantized.linear_dynamic_fp16(rows, packed)
other = [
    count for count in range(1, 120)
    if not torch.equal(torch.ops.quantized.linear_dynamic_fp16(rows[:count], packed), whole[:count])
]
print("torch", torch.__version__, torch.backends.cpu.get_cpu_capability())
print("batches with other bits:", other)
assert other[:8] == [1, 2, 7, 14, 31, 32, 37, 38], other
assert not [count for count in other if count % 3 == 0], other
PY
# Output: batches with other bits: [1, 2, 7, 14, 31, 32, 37, 38, 43, 44, 49, 50, 55, 56, 61, 62, 67, 68, 73, 74, 79, 80, …]
