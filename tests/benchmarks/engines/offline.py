"""Engines without HTTP: `python -m tests.benchmarks.engines offline`. Tokens a second of several on one random-weight GPT-2 124M.

96 new tokens after a prompt of six (with the token that stands before a post), top-p 0.95, all sequences at once. CTranslate2 is
measured where it is installed (`pip install ctranslate2`); nothing of Mynah needs it.
"""

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.gpt2 import make_gpt2

TOKENS, BATCHES = 96, (1, 8, 32, 64)
HEAD = f"""
import json, statistics, sys, time, warnings
import torch
warnings.simplefilter("ignore")
folder, batches, tokens = sys.argv[1], {BATCHES}, {TOKENS}
ids = [50256, 464, 3096, 428, 3329, 373]
def measure(generate):
    found = {{}}
    for batch in batches:
        times = []
        for turn in range(4):
            began = time.perf_counter()
            generate(batch)
            times.append(time.perf_counter() - began)
        found[batch] = batch * tokens / statistics.median(times[1:])
    print(json.dumps(found))
"""
GENERATE = """
from transformers import GPT2LMHeadModel
model = GPT2LMHeadModel.from_pretrained(folder, dtype={dtype!r}).eval()
def generate(batch):
    prompt = torch.tensor([ids] * batch)
    model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=True, top_p=0.95, top_k=0, pad_token_id=50256,
                   min_new_tokens=tokens, max_new_tokens=tokens{more})
measure(generate)
"""
ENGINES = {
    "transformers `generate`, fp32": GENERATE.format(dtype="float32", more=""),
    "transformers `generate`, bf16": GENERATE.format(dtype="bfloat16", more=""),
    "transformers static cache, compiled, bf16": GENERATE.format(dtype="bfloat16", more=', cache_implementation="static"'),
    "transformers continuous batching, bf16": """
from transformers import GenerationConfig, GPT2LMHeadModel
model = GPT2LMHeadModel.from_pretrained(folder, dtype="bfloat16", attn_implementation="sdpa").eval()
how = GenerationConfig(do_sample=True, top_p=0.95, top_k=0, max_new_tokens=tokens, eos_token_id=-1, pad_token_id=50256)
measure(lambda batch: model.generate_batch([ids] * batch, generation_config=how))
""",
    "CTranslate2 float32": """
import ctranslate2
ctranslate2.converters.TransformersConverter(folder).convert(folder + "-ct2", force=True)
generator = ctranslate2.Generator(folder + "-ct2", compute_type=COMPUTE, intra_threads=2)
names = ["<|endoftext|>", "The", "\\u0120sea", "\\u0120this", "\\u0120morning", "\\u0120was"]
measure(lambda batch: generator.generate_batch([names] * batch, max_length=tokens, min_length=tokens, sampling_topk=0,
        sampling_topp=0.95, include_prompt_in_result=False, end_token=[]))
""".replace("COMPUTE", '"float32"'),
    "Mynah's slot decoder": """
from pathlib import Path
from mynah.models.sampling import Sampling
from mynah.decoding.request import GenerationRequest
from mynah.decoding.model import load_model
from mynah.decoding.running_batch import RunningBatch, RunningSample
model = load_model(Path(folder))
def generate(batch):
    run = RunningBatch(model.body)
    request = GenerationRequest(("",), Sampling(n=batch, min_tokens=tokens, max_tokens=tokens))
    run.add([ids], [[RunningSample.begin(None, request, model, 0, number, ids, allow_verbatim=True) for number in range(batch)]])
    while run.size:
        run.step()
measure(generate)
""",
}
ENGINES["CTranslate2 int8"] = ENGINES["CTranslate2 float32"].replace('"float32"', '"int8"')


def main() -> None:
    print("| engine | " + " | ".join(map(str, BATCHES)) + " |\n|---|" + "---|" * len(BATCHES))
    with tempfile.TemporaryDirectory() as home:
        folder = make_gpt2(Path(home, "gpt2"))
        for name, code in ENGINES.items():
            if "ctranslate2" in code and not importlib.util.find_spec("ctranslate2"):
                print(f"| {name} | not installed |")
                continue
            try:
                done = subprocess.run(
                    [sys.executable, "-c", HEAD + code, str(folder)], capture_output=True, text=True, timeout=500
                )
            except subprocess.TimeoutExpired:
                print(f"| {name} | took too long |", flush=True)
                continue
            if done.returncode:
                print(f"| {name} | failed: {done.stderr.strip().splitlines()[-1][:150]} |", flush=True)
                continue
            found = json.loads(done.stdout.strip().splitlines()[-1])
            print(f"| {name} | " + " | ".join(f"{found[str(batch)]:.0f}" for batch in BATCHES) + " |", flush=True)
