#!/usr/bin/env bash
# transformers 5.17.0, Gemma 3's text model: the setting attn_logit_softcapping of its configuration.
#
# Guess: it caps the attention's logits, as in Gemma 2. Gemma3TextConfig takes and saves it like Gemma2Config, and its attention stores the
# value; other engines that read the same config.json apply it.
# Seen: it changes nothing in Gemma 3, with eager attention too. Two models of the same weights, with a cap of 0.1 and without one, give
# the same logits to the bit; in Gemma 2 they differ. (final_logit_softcapping is applied in both.) Google's Gemma 3 checkpoints have null
# there, so nothing shows until somebody trains one with a cap, or compares two engines on a random configuration.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.17.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
import transformers
from transformers import Gemma2Config, Gemma2ForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig

SMALL = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "query_pre_attn_scalar": 1, "final_logit_softcapping": None,
}


def logits(model, config, cap):
    torch.manual_seed(0)
    made = model(config(**SMALL, attn_logit_softcapping=cap, attn_implementation="eager")).eval()
    with torch.no_grad():
        for weight in made.parameters():
            if weight.dim() == 2:
                weight.mul_(4)  # so that the logits of the attention are large enough to be capped
        return made(torch.arange(1, 33)[None]).logits


def change(model, config):
    return (logits(model, config, 0.1) - logits(model, config, None)).abs().max().item()


gemma2, gemma3 = change(Gemma2ForCausalLM, Gemma2Config), change(Gemma3ForCausalLM, Gemma3TextConfig)
print("transformers", transformers.__version__, "- largest change of a logit by a cap of 0.1:")
print(f"Gemma 2: {gemma2:.2f}; Gemma 3: {gemma3}")
assert gemma2 > 0.1, gemma2
assert gemma3 == 0, gemma3
assert Gemma3TextConfig(attn_logit_softcapping=0.1).to_dict()["attn_logit_softcapping"] == 0.1
PY
# Output: Gemma 2: 1.53; Gemma 3: 0.0
