"""GPT-2 124M with random weights, for benchmarks, and how fast transformers generates with it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.load import PROMPT

TOKENIZER = Path(__file__).parents[2].parent / "shared" / "data" / "gpt2-tokenizer"


def make_gpt2(folder: Path) -> Path:
    """GPT-2 124M with random weights; a process of its own, so that this one stays small."""
    code = (
        "import sys, torch\nfrom transformers import GPT2Config, GPT2LMHeadModel\n"
        "torch.manual_seed(0)\nGPT2LMHeadModel(GPT2Config()).save_pretrained(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, stderr=subprocess.DEVNULL)
    for file in TOKENIZER.iterdir():
        shutil.copy(file, folder)
    return folder


PEER = """
import json, sys, time, torch
from transformers import GPT2LMHeadModel
torch.set_num_threads(2)
model = GPT2LMHeadModel.from_pretrained(sys.argv[1], dtype="float32").eval()
ids = torch.tensor([json.loads(sys.argv[2])])
def generate(n, tokens):
    began = time.perf_counter()
    model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=True, top_p=0.95, top_k=0, num_return_sequences=n,
                   min_new_tokens=tokens, max_new_tokens=tokens, pad_token_id=50256)
    return n * tokens / (time.perf_counter() - began)
generate(1, 8)
print(json.dumps({f"{n} {tokens}": [generate(n, tokens) for _ in range(3)] for n in (1, 5) for tokens in (32, 128)}))
"""


def peer(folder: Path) -> dict[str, list[float]]:
    """Tokens a second of `generate`, by samples and tokens."""
    code = "from mynah.decoding.tokenizer import shared_tokenizer\nfrom pathlib import Path\nimport sys\n"
    code += "print(shared_tokenizer(Path(sys.argv[1])).encode(sys.argv[2]))"
    ids = subprocess.run([sys.executable, "-c", code, str(folder), PROMPT], check=True, capture_output=True, text=True).stdout
    done = subprocess.run([sys.executable, "-c", PEER, str(folder), ids], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))
