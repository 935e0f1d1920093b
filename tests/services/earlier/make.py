"""Makes work.tar.xz, a work folder of the code at a0fd4df, before the packages had the layout of today.

    git worktree add /tmp/before a0fd4df
    unshare --uts sh -c 'hostname laptop; PYTHONPATH=/tmp/before python tests/services/earlier/make.py'

The folder that it is made in, FOLDER, is in the database's addresses; the tests write their own in its place. The base model is a
GPT-2 of one layer with random weights, which no gate passes: it is promoted by force.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

FOLDER = Path("/tmp/mynah-earlier")
SUBJECTS = ("The bird", "A queen", "My neighbour", "The sea", "Every morning the cat")
VERBS = ("sings to", "listens to", "writes about", "forgets")
OBJECTS = ("the rain", "an old garden", "the moon", "a letter from home")
ENDINGS = ("today.", "when nobody looks.", "in the winter.")


def base_model(folder: Path) -> None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    end = "<|endoftext|>"
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(SUBJECTS, trainers.BpeTrainer(vocab_size=280, special_tokens=[end], initial_alphabet=alphabet))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=end, eos_token=end, unk_token=end)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    ids = {"bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=16, n_layer=1, n_head=2, **ids)
    GPT2LMHeadModel(config).save_pretrained(folder)


def mynah(*arguments: str) -> int:
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "USER": "ann", "LOGNAME": "ann", "LNAME": "ann"}
    command = [sys.executable, "-m", "pipelines", *arguments, "--workdir", str(FOLDER / "work")]
    return subprocess.run(command, cwd=FOLDER, env=environment, check=False).returncode


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    base_model(FOLDER / "base")
    posts = [f"{s} {v} {o} {e}" for s in SUBJECTS for v in VERBS for o in OBJECTS for e in ENDINGS]
    (FOLDER / "ann.csv").write_text("text\n" + "\n".join(posts) + "\n")
    source = ["--from", "ann.csv", "--basis", "permission", "--rules", "default,-near-duplicates"]
    recipe = ["--base-model", str(FOLDER / "base"), "--set", "epochs=1"]
    if (code := mynah("run", "--name", "wren", *source, *recipe)) != 4:  # the gate's no
        raise SystemExit(f"mynah run ended with {code}")
    if code := mynah("promote", "wren", "--force", "an example of an earlier store"):
        raise SystemExit(f"mynah promote ended with {code}")
    with tarfile.open(Path(__file__).with_name("work.tar.xz"), "w:xz", preset=9) as packed:
        for name in ("mlflow.db", "mlartifacts", "runs"):
            packed.add(FOLDER / "work" / name, name)


if __name__ == "__main__":
    main()
