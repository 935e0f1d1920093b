"""How many threads a calling thread decodes with."""

from collections.abc import Collection

import torch

from mynah.decoding.body import Body
from mynah.decoding.compiled_blocks import runs_as_program
from mynah.decoding.kernels import FREE_CORES, THREADS


def use_all_cores() -> None:
    """Make the calling thread the one that computes with every core. See `use_one_core`."""
    decode_with(THREADS)


def decode_with(threads: int) -> None:
    """Make the calling thread compute with so many, from its next operation on."""
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def use_free_cores(bodies: Collection[Body]) -> None:
    """For steps of these models, use no more threads than find a core: on a busy one a thread keeps the others of each operation waiting.

    Does nothing where a step's bits depend on the number of threads.
    """
    if bodies and all(body.kernels.any_threads for body in bodies):
        decode_with(FREE_CORES.threads())


def use_free_cores_for_prompts(body: Body) -> None:
    """The same for prompts, which are otherwise read by all cores: the bits of torch's attention change with the number of threads."""
    decode_with(FREE_CORES.threads() if runs_as_program(body) else THREADS)


def use_one_core() -> None:
    """Keep the calling thread to one core, now and later.

    OpenMP gives each thread that computes a team of its own, and lets teams sleep between two operations as soon as there are more
    of them than cores: a step of GPT-2 then takes 13 ms instead of 8. So only the engine's thread has a team.
    """
    torch.set_num_threads(1)
