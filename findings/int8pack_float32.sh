#!/usr/bin/env bash
# torch 2.13.0 (CPU), torch._weight_int8pack_mm: int8 weights with a scale for each output, activations in floating point. It is what
# weight-only int8 quantisation (torchao, gpt-fast) calls on a CPU.
#
# Guess: float32 activations are the natural case and at least as fast as bfloat16 ones, since nothing has to be widened.
# Seen: the operator takes float32 without a word and runs a loop that is not vectorised: one row of 768 against [2304, 768] takes 5 to 10
# times as long as with bfloat16 on processors with AVX2 or AVX-512, and 10 to 20 times for 16 rows. With bfloat16 it reads a byte for each
# weight at the speed of memory. A model in float32 has to cast its activations first to gain anything from it.
set -euo pipefail
if [ "$(uname -m)" != x86_64 ] || ! grep -q avx2 /proc/cpuinfo; then
  echo "not an x86-64 processor with AVX2: not tried there"
  exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import time

import torch

torch.manual_seed(0)
torch.set_num_threads(1)
weight = torch.randint(-127, 128, (2304, 768), dtype=torch.int8)
scales = torch.rand(2304)


def seconds(rows: torch.Tensor) -> float:
    fastest, scale = float("inf"), scales.to(rows.dtype)
    for _ in range(20):
        began = time.perf_counter()
        torch._weight_int8pack_mm(rows, weight, scale)
        fastest = min(fastest, time.perf_counter() - began)
    return fastest


print("torch", torch.__version__, torch.backends.cpu.get_cpu_capability())
for count in (1, 16):
    rows = torch.randn(count, 768)
    single, half = seconds(rows), seconds(rows.bfloat16())
    print(f"{count} rows: float32 {1e6 * single:.0f} us, bfloat16 {1e6 * half:.0f} us, ratio {single / half:.1f}")
    assert single > 3 * half
PY
# Output: 1 rows: float32 1144 us, bfloat16 119 us, ratio 9.6
