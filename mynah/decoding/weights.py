"""A checkpoint's tensors, read from safetensors without transformers, whose import takes seconds, and brought into one form.

The names are those of https://github.com/huggingface/transformers, models/gpt2 and models/llama, qwen2, qwen3, gemma3.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mynah.core.errors import InputError
from mynah.models.architecture import Architecture
from mynah.models.checkpoint_files import weight_files

Affine = tuple[Tensor, Tensor]  # weight fp32 [out, in], bias fp32 [out]
Norm = tuple[Tensor, Tensor | None]  # weight and bias, fp32 [width] each; a root-mean-square norm has no bias


@dataclass(frozen=True, slots=True)
class BlockWeights:
    """One block of the transformer.

    Attributes:
        norm_1: Before attention.
        qkv: Queries, keys and values side by side, [(heads + 2 * kv_heads) * head, width].
        query_norm: Weight fp32 [head]; None where queries have no norm.
        key_norm: The same for keys.
        out: Attention's last product.
        post_norm_1: After attention; None where there is none.
        norm_2: Before the MLP.
        up: Its first product; of a gated MLP gate and up side by side, [2 * inner, width].
        down: Its last product.
        post_norm_2: After the MLP; None where there is none.
    """

    norm_1: Norm
    qkv: Affine
    query_norm: Tensor | None
    key_norm: Tensor | None
    out: Affine
    post_norm_1: Norm | None
    norm_2: Norm
    up: Affine
    down: Affine
    post_norm_2: Norm | None


class Weights:
    """The tensors of a folder's safetensors files, by name without "transformer." or "model."."""

    def __init__(self, folder: Path, architecture: Architecture) -> None:
        """Read the files. Raises InputError when one cannot be read."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        self._folder, self._of = folder, architecture
        self._tensors: dict[str, Tensor] = {}
        prefix = "transformer." if architecture.family == "gpt2" else "model."
        for path in weight_files(folder):
            try:
                self._tensors |= {name.removeprefix(prefix): tensor for name, tensor in load_file(path).items()}
            except (SafetensorError, OSError, ValueError) as error:
                raise InputError(
                    f"{path.name} of {folder} cannot be read: {error}", "Is it whole? Fetch or train it again."
                ) from error

    @property
    def embeddings(self) -> Tensor:
        """[vocabulary, width], in the file's type, without the architecture's scale."""
        name = "wte.weight" if self._of.family == "gpt2" else "embed_tokens.weight"
        return self._take(name, self._of.vocabulary, self._of.width)

    @property
    def positions(self) -> Tensor:
        """fp32 [context, width], where positions are learned."""
        return self._take("wpe.weight", self._of.context, self._of.width).float()

    @property
    def head(self) -> Tensor:
        """The last layer's weights, [vocabulary, width]: those of the tokens, unless the folder has others."""
        if "lm_head.weight" in self._tensors or not self._of.is_tied:
            return self._take("lm_head.weight", self._of.vocabulary, self._of.width)
        return self.embeddings

    @property
    def last_norm(self) -> Norm:
        """Before the last layer."""
        return self._norm("ln_f" if self._of.family == "gpt2" else "norm")

    def block(self, number: int) -> BlockWeights:
        """The block of a number. Raises InputError when a tensor is missing or has not the size that config.json gives."""
        return self._gpt2_block(f"h.{number}") if self._of.family == "gpt2" else self._llama_block(f"layers.{number}")

    def _gpt2_block(self, at: str) -> BlockWeights:
        of, width = self._of, self._of.width

        def affine(name: str, rows: int, columns: int) -> Affine:
            weight = self._take(f"{at}.{name}.weight", rows, columns).float().t().contiguous()  # Conv1D keeps [in, out]
            return weight, self._take(f"{at}.{name}.bias", columns).float()

        return BlockWeights(
            self._norm(f"{at}.ln_1"), affine("attn.c_attn", width, 3 * width), None, None, affine("attn.c_proj", width, width), None,
            self._norm(f"{at}.ln_2"), affine("mlp.c_fc", width, of.inner), affine("mlp.c_proj", of.inner, width), None,
        )  # fmt: skip

    def _llama_block(self, at: str) -> BlockWeights:
        of = self._of

        def affine(rows: int, columns: int, *names: str, has_bias: bool = False) -> Affine:
            weights, biases = [], []
            for name, count in zip(names, self._rows(names, rows), strict=True):
                weights.append(self._take(f"{at}.{name}.weight", count, columns).float())
                biases.append(self._take(f"{at}.{name}.bias", count).float() if has_bias else torch.zeros(count))
            return torch.cat(weights), torch.cat(biases)

        inside, post = of.heads * of.head, f"{at}.post_attention_layernorm"
        names = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
        return BlockWeights(
            self._norm(f"{at}.input_layernorm"),
            affine(inside + 2 * of.kv_heads * of.head, of.width, *names, has_bias=of.qkv_bias),
            self._head_norm(f"{at}.self_attn.q_norm"),
            self._head_norm(f"{at}.self_attn.k_norm"),
            affine(of.width, inside, "self_attn.o_proj", has_bias=of.out_bias),
            self._norm(post) if of.post_norms else None,
            self._norm(f"{at}.pre_feedforward_layernorm" if of.post_norms else post),
            affine(2 * of.inner, of.width, "mlp.gate_proj", "mlp.up_proj", has_bias=of.mlp_bias),
            affine(of.width, of.inner, "mlp.down_proj", has_bias=of.mlp_bias),
            self._norm(f"{at}.post_feedforward_layernorm") if of.post_norms else None,
        )

    def _rows(self, names: tuple[str, ...], rows: int) -> list[int]:
        """Rows of each of several matrices that lie side by side."""
        of = self._of
        if len(names) == 3:
            return [of.heads * of.head, of.kv_heads * of.head, of.kv_heads * of.head]
        return [rows // len(names)] * len(names)

    def _norm(self, name: str) -> Norm:
        weight = self._take(f"{name}.weight", self._of.width).float() + self._of.norm_offset
        return weight, None if self._of.rms_norm else self._take(f"{name}.bias", self._of.width).float()

    def _head_norm(self, name: str) -> Tensor | None:
        return self._take(f"{name}.weight", self._of.head).float() + self._of.norm_offset if self._of.qk_norms else None

    def _take(self, name: str, *sizes: int) -> Tensor:
        """The tensor `name`. Raises InputError when it is missing or not of these sizes."""
        tensor = self._tensors.get(name)
        if tensor is None:
            raise InputError(f"{self._folder} lacks its weights {name!r}", "Fetch or train it again.")
        if tuple(tensor.shape) != sizes:
            raise InputError(
                f"{self._folder}: {name} is {tuple(tensor.shape)}, and must be {sizes} by its config.json", "Train it again."
            )
        return tensor
