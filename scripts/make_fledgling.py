"""Pre-train `fledgling`, the small base model that ships with Mynah, from public-domain text alone.

    python scripts/make_fledgling.py --text ../shared/data/public-domain-text --out components/finetune/fledgling

It trains a byte-level BPE of its own and then a GPT-2 of 3.9 million parameters, keeps the weights with the lowest
held-out loss and writes a Hugging Face folder: config, tokenizer, fp16 safetensors and `training.json`, the record the
model card quotes. The same seed, text and versions give the same tokenizer and, on one machine, the same weights.

The plays that the sample export quotes (`SAMPLE_STARTS_AT`, see make_sample_export.py) are left out here, so that
fine-tuning on the sample never meets a sentence that the base model has read.
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

from scripts.public_domain import END_OF_TEXT, documents

VOCABULARY = 6144
CONTEXT = 256
WIDTH, LAYERS, HEADS = 192, 6, 6
BATCH = 16
HELD_OUT_EVERY = 50  # one document in 50 is never trained on


def train_tokenizer(texts: list[str], out: Path) -> PreTrainedTokenizerFast:
    """Train the byte-level BPE (as GPT-2's, any text round-trips) and write it to `out`."""
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
    """All texts as one stream of token ids with END_OF_TEXT before each, shape (tokens,)."""
    end = tokenizer.eos_token_id
    ids = [token for encoded in tokenizer(texts)["input_ids"] for token in (end, *encoded)]
    return torch.tensor([*ids, end])


def batches(stream: torch.Tensor, rng: random.Random) -> Iterator[torch.Tensor]:
    """One epoch of (BATCH, CONTEXT) blocks, cut at a random offset and shuffled."""
    offset = rng.randrange(CONTEXT)
    usable = stream[offset:]
    blocks = usable[: len(usable) // CONTEXT * CONTEXT].view(-1, CONTEXT)
    order = list(range(len(blocks)))
    rng.shuffle(order)
    for start in range(0, len(order) - BATCH + 1, BATCH):
        yield blocks[order[start : start + BATCH]]


@torch.no_grad()
def held_out_loss(model: GPT2LMHeadModel, stream: torch.Tensor) -> float:
    """Mean cross-entropy in nats per token."""
    model.eval()
    blocks = stream[: len(stream) // CONTEXT * CONTEXT].view(-1, CONTEXT)
    losses = [model(input_ids=part, labels=part).loss.item() * len(part) for part in torch.split(blocks, BATCH)]
    model.train()
    return float(sum(losses) / len(blocks))


def adamw(model: GPT2LMHeadModel, lr: float) -> torch.optim.AdamW:
    """AdamW with decoupled decay on matrices alone."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), fused=True)


def pretrain(
    train: torch.Tensor, held_out: torch.Tensor, end: int, args: argparse.Namespace
) -> tuple[GPT2LMHeadModel, dict[str, Any]]:
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS,
        bos_token_id=end, eos_token_id=end, resid_pdrop=args.dropout, embd_pdrop=args.dropout, attn_pdrop=0.0, loss_type="ForCausalLM",
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    optimizer = adamw(model, args.lr)
    steps = (len(train) // CONTEXT // BATCH) * args.epochs
    warmup = steps // 20
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1.0, (s + 1) / warmup) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, s / steps))))
    )
    best, best_state, history, step, began = math.inf, None, [], 0, time.monotonic()
    for epoch in range(args.epochs):
        for batch in batches(train, rng):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = model(input_ids=batch, labels=batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="folder with inaugural.txt, state_union.txt and shakespeare.txt")
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
    (args.out / "training.json").write_text(json.dumps(record, indent=2) + "\n")
    print(re.sub(r"\s+", " ", json.dumps(record)))


if __name__ == "__main__":
    main()
