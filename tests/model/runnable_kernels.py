"""The kernels that this machine can run."""

from mynah.decoding.kernels import runnable

RUNNABLE = [each for each in runnable() if not each.on_request]
