"""One bot in memory: the body that computes, which bots on one base model share, and what is the bot's own, such as an adapter."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mynah.data.scripts import read_scripts
from mynah.data.verbatim_filter import Bloom, read_bloom
from mynah.decoding.adapter import load_adapter
from mynah.decoding.body import Body
from mynah.decoding.kernels import Kernels, chosen
from mynah.decoding.shared_body import shared_body
from mynah.decoding.tokenizer import Tokenizer
from mynah.models.adapter import is_adapter
from mynah.models.adapter_base import base_folder
from mynah.models.architecture import Architecture

if TYPE_CHECKING:
    from mynah.decoding.adapter import Adapter


@dataclass(frozen=True, eq=False)
class Model:
    """A bot. Compared by identity.

    Attributes:
        folder: Of its checkpoint or adapter.
        body: What computes. Samples of all bots on one body are decoded in one batch.
        adapter: What is added to the body's products; None: nothing.
        bloom: The filter of its training posts; None: it may repeat them.
        scripts: That its author writes (mynah.data.scripts); None where that is not known.
    """

    folder: Path
    body: Body
    adapter: "Adapter | None"
    bloom: Bloom | None
    scripts: frozenset[str] | None = None

    @property
    def nbytes(self) -> int:
        """What the bot takes in memory where no other bot shares its body."""
        return self.body.nbytes + self.own_bytes

    @property
    def own_bytes(self) -> int:
        """What the bot takes beside its body."""
        return self.adapter.nbytes if self.adapter else 0

    @property
    def kernels(self) -> Kernels:
        """What the body computes with."""
        return self.body.kernels

    @property
    def architecture(self) -> Architecture:
        """What the body computes."""
        return self.body.architecture

    @property
    def tokenizer(self) -> Tokenizer:
        """The body's."""
        return self.body.tokenizer

    @property
    def begin(self) -> int:
        """The id of the token that a post begins with."""
        return self.body.begin

    @property
    def end(self) -> int:
        """The id of the token that ends a post."""
        return self.body.end

    @property
    def context(self) -> int:
        """The longest sequence the model attends to, in tokens."""
        return self.architecture.context

    @property
    def is_exact(self) -> bool:
        """Whether a sample's text is the same whatever runs beside it. Blocks for a moment when it is asked first."""
        return self.body.is_exact and (self.adapter is None or self.adapter.is_exact)

    def encode(self, text: str) -> list[int]:
        """Token ids; a literal <|endoftext|> in the text is taken as plain characters."""
        return self.tokenizer.encode(text)

    def apart(self) -> "Model":
        """The same weights as a model of its own, whose sequences share no batch with this one's."""
        return replace(self, body=replace(self.body))


def load_model(folder: Path, kernels: Kernels | None = None) -> Model:
    """Load a Hugging Face folder in 10 to 300 ms, or an adapter's beside a body that is loaded in some 30, for `kernels` or those of this process.

    Blocks.

    Raises:
        InputError: The folder is neither a whole checkpoint of an architecture that is served nor an adapter whose base model is on this
            machine; or as `kernels.chosen`.
        PlatformError: As `kernels.chosen`.
    """
    with torch.inference_mode():
        if is_adapter(folder):
            body = shared_body(base_folder(folder), kernels or chosen(), takes_adapters=True)
            adapter: Adapter | None = load_adapter(folder, body)
        else:
            body, adapter = shared_body(folder, kernels or chosen()), None
        return Model(folder, body, adapter, read_bloom(folder), read_scripts(folder))
