"""Whether this machine can decode, asked before anything is spent and, where possible, before torch is imported."""

from mynah.core.machine import require_instructions
from mynah.core.settings import MYNAH_KERNELS


def require_kernels() -> None:
    """Make sure, before anything is spent, that this machine can decode: what `kernels.chosen` raises, without torch where it can.

    Raises:
        InputError: MYNAH_KERNELS names none of the table, or some that this machine cannot run.
        PlatformError: The processor can run none.
    """
    require_instructions()
    if MYNAH_KERNELS.get():
        from mynah.decoding.kernels import chosen

        chosen()
