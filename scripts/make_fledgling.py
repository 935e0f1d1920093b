"""Pre-train `fledgling`, the small base model that ships with Mynah, on public-domain text only.

    python scripts/make_fledgling.py --text ../shared/data/public-domain-text --out mynah/models/fledgling

It trains a byte-level BPE tokenizer and then a GPT-2 of 3.9 million parameters, keeps the weights with the lowest
held-out loss and writes a Hugging Face folder: config, tokenizer, fp16 safetensors and `training.json`, the record that
the model card quotes. The same seed, text and versions give the same tokenizer and, on one machine, the same weights.

The plays that the sample export quotes (`SAMPLE_STARTS_AT`, see make_sample_export.py) are excluded, so that
fine-tuning on the sample uses no sentence that the base model was trained on.
"""

import argparse
import json
import math
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from mynah.training.training_record import TRAINING_FILE
from scripts.public_domain import END_OF_TEXT, documents

VOCABULARY = 6144
CONTEXT = 256
WIDTH, LAYERS, HEADS = 192, 6, 6
BATCH = 16
HELD_OUT_EVERY = 50  # one document in 50 is never trained on


def train_tokenizer(texts: list[str], out: Path) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer, which encodes any text without loss as GPT-2's does (Radford et al. 2019).

    Args:
        texts: The training texts.
        out: The folder to write it to.

    Returns:
        The tokenizer.
    """
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, vocab_size=VOCABULARY, min_frequency=2, special_tokens=[END_OF_TEXT])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer,  # the documented way from a ByteLevelBPETokenizer to a transformers tokenizer
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        unk_token=END_OF_TEXT,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.save_pretrained(out)
    return tokenizer


def token_stream(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> torch.Tensor:
    """Encode texts as one stream of token ids, with END_OF_TEXT before every text and at the end.

    Args:
        tokenizer: The tokenizer.
        texts: The texts.

    Returns:
        Token ids, shape (tokens,), int64.
    """
    end = tokenizer.eos_token_id
    ids = [token for encoded in tokenizer(texts)["input_ids"] for token in (end, *encoded)]
    return torch.tensor([*ids, end])


def batches(stream: torch.Tensor, rng: random.Random) -> Iterator[torch.Tensor]:
    """Cut a stream into the shuffled batches of one epoch, from a random offset on.

    Args:
        stream: Token ids, shape (tokens,), int64.
        rng: The random number generator.

    Yields:
        Token ids, shape (BATCH, CONTEXT), int64.
    """
    offset = rng.randrange(CONTEXT)
    usable = stream[offset:]
    blocks = usable[: len(usable) // CONTEXT * CONTEXT].view(-1, CONTEXT)
    order = list(range(len(blocks)))
    rng.shuffle(order)
    for start in range(0, len(order) - BATCH + 1, BATCH):
        yield blocks[order[start : start + BATCH]]


@torch.no_grad()
def held_out_loss(model: GPT2LMHeadModel, stream: torch.Tensor) -> float:
    """Measure the mean cross-entropy of a stream.

    Args:
        model: The model.
        stream: Token ids, shape (tokens,), int64.

    Returns:
        Nats per token.
    """
    model.eval()
    blocks = stream[: len(stream) // CONTEXT * CONTEXT].view(-1, CONTEXT)
    losses = [model(input_ids=part, labels=part).loss.item() * len(part) for part in torch.split(blocks, BATCH)]
    model.train()
    return float(sum(losses) / len(blocks))


def adamw(model: GPT2LMHeadModel, lr: float) -> torch.optim.AdamW:
    """Create the optimizer AdamW (Loshchilov and Hutter 2019) with learning rate `lr`, and weight decay on matrices only."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), fused=True)


def _new_model(end: int, dropout: float) -> GPT2LMHeadModel:
    """Create a GPT-2 with random weights, where `end` is the id of END_OF_TEXT."""
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS,
        bos_token_id=end, eos_token_id=end, resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=0.0, loss_type="ForCausalLM",
    )  # fmt: skip
    return GPT2LMHeadModel(config)


def _schedule(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Create a linear warm-up over a twentieth of the steps, then a cosine decay to a twentieth of the learning rate."""
    warmup = steps // 20
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1.0, (s + 1) / warmup) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, s / steps))))
    )


def _train_step(model: GPT2LMHeadModel, optimizer: torch.optim.Optimizer, batch: torch.Tensor) -> torch.Tensor:
    """Train on one batch of token ids, shape (BATCH, CONTEXT), int64; return the loss in nats per token, a scalar."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss: torch.Tensor = model(input_ids=batch, labels=batch).loss
    loss.backward()  # type: ignore[no-untyped-call]  # torch has no types there
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss


def pretrain(
    train: torch.Tensor, held_out: torch.Tensor, end: int, args: argparse.Namespace
) -> tuple[GPT2LMHeadModel, dict[str, Any]]:
    """Train a model, and keep the weights of the epoch with the lowest held-out loss.

    Args:
        train: Token ids to train on, shape (tokens,), int64.
        held_out: Token ids to measure the loss on, shape (tokens,), int64.
        end: The id of END_OF_TEXT.
        args: The command line: seed, epochs, lr and dropout.

    Returns:
        The model, and the record of training.
    """
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    model = _new_model(end, args.dropout)
    optimizer = adamw(model, args.lr)
    steps = (len(train) // CONTEXT // BATCH) * args.epochs
    schedule = _schedule(optimizer, steps)
    best, best_state, history, step, began = math.inf, None, [], 0, time.monotonic()
    for epoch in range(args.epochs):
        for batch in batches(train, rng):
            loss = _train_step(model, optimizer, batch)
            schedule.step()
            step += 1
            if step % 50 == 0:
                speed = step * BATCH * CONTEXT / (time.monotonic() - began)
                print(
                    f"epoch {epoch + 1}/{args.epochs} step {step}/{steps} loss {loss.item():.3f} {speed:,.0f} tokens/s",
                    flush=True,
                )
        now = held_out_loss(model, held_out)
        history.append(round(now, 4))
        print(f"epoch {epoch + 1}: held-out loss {now:.4f}", flush=True)
        if now < best:
            best, best_state = now, {name: value.clone() for name, value in model.state_dict().items()}
    assert best_state is not None
    model.load_state_dict(best_state)
    record = {
        "seed": args.seed, "epochs": args.epochs, "lr": args.lr, "dropout": args.dropout, "batch": [BATCH, CONTEXT], "steps": steps,
        "train_tokens": len(train), "held_out_tokens": len(held_out), "held_out_loss": best, "held_out_loss_by_epoch": history,
        "parameters": model.num_parameters(), "seconds": round(time.monotonic() - began), "torch": torch.__version__,
    }  # fmt: skip
    return model, record


def main() -> None:
    """Train the model, and write its folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--text", type=Path, required=True, help="the folder with inaugural.txt, state_union.txt and shakespeare.txt"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=20161)
    args = parser.parse_args()
    texts = documents(args.text)
    train = [text for index, text in enumerate(texts) if index % HELD_OUT_EVERY]
    held_out = texts[::HELD_OUT_EVERY]
    tokenizer = train_tokenizer(train, args.out)
    end = tokenizer.eos_token_id
    train_stream, held_out_stream = token_stream(tokenizer, train), token_stream(tokenizer, held_out)
    print(
        f"{len(texts):,} documents, {len(train_stream):,} training tokens, {sum(map(len, train)) / len(train_stream):.2f} characters a token"
    )
    model, record = pretrain(train_stream, held_out_stream, end, args)
    characters = sum(map(len, held_out))
    record["held_out_bits_per_character"] = round(record["held_out_loss"] / math.log(2) * len(held_out_stream) / characters, 4)
    model.generation_config = GenerationConfig(
        do_sample=True,
        top_p=0.95,
        temperature=1.0,
        top_k=0,
        min_new_tokens=1,
        max_new_tokens=160,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    model.half().save_pretrained(args.out)
    (args.out / TRAINING_FILE).write_text(json.dumps(record, indent=2) + "\n")
    print(re.sub(r"\s+", " ", json.dumps(record)))


if __name__ == "__main__":
    main()
