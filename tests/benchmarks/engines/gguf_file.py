"""Write a checkpoint of Hugging Face's as one GGUF file, which is what llama.cpp reads, by the writer of `mynah export`.

python -m tests.benchmarks.engines.gguf_file CHECKPOINT FILE.gguf [f32|f16|q8_0]
"""

import sys
from pathlib import Path

from mynah.models.gguf.write import write_gguf

if __name__ == "__main__":
    write_gguf(Path(sys.argv[1]), Path(sys.argv[2]), *(sys.argv[3:] or ["q8_0"]))
