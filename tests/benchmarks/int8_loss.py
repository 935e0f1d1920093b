"""What int8 costs models: the held-out loss with each int8 kernel of this machine, less that of transformers in float32.

    python -m tests.benchmarks.int8_loss [POSTS] [CHECKPOINT ...]

POSTS: how many held-out posts of julia.csv (150), filtered. CHECKPOINT: folders or base models (smollm2 and fledgling, all of its narrow matrices in
int8 too). The standard error is that of the mean difference of the posts.
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path

from mynah.decoding import int8_linear
from mynah.decoding.kernels import describe, runnable
from mynah.decoding.model import load_model
from mynah.models.base_models import resolve
from mynah.models.checkpoint import load
from mynah.models.scoring import score
from tests.benchmarks.finetune import posts
from tests.model.test_int8_losses import loss

NARROW = 1  # instead of int8_linear.BLOCK
HELD_OUT = 10  # a tenth of the posts


def main() -> None:
    count, *names = [*sys.argv[1:], *("150", "smollm2", "fledgling")[len(sys.argv) - 1 :]]
    int8_linear.BLOCK = NARROW
    with tempfile.TemporaryDirectory() as scratch:
        lines = (posts(Path(scratch), HELD_OUT * int(count)) / "held_out.jsonl").read_text().splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    for name in names:
        folder = resolve(name).folder
        reference = load(folder)
        scores = [score(reference, [text]) for text in texts]
        tokens = sum(each.tokens for each in scores)
        print(
            f"{name}: {len(texts)} posts, {tokens} tokens, float32 {sum(each.nats for each in scores) / tokens:.4f} nats a token",
            flush=True,
        )
        for kernels in (each for each in runnable() if each.weights == "int8"):
            model = load_model(folder, kernels)
            more = [loss(model, [text]) * each.tokens - each.nats for text, each in zip(texts, scores, strict=True)]
            error = statistics.stdev(more) * len(more) ** 0.5 / tokens
            print(f"  {describe(kernels)}: {sum(more) / tokens:+.5f} (standard error {error:.5f})", flush=True)


if __name__ == "__main__":
    main()
