"""The device that a training run computes on: its name, and the check that a GPU that was paid for is used."""

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from mynah.core.errors import PlatformError
from mynah.core.machine import node_kind, processor_name

if TYPE_CHECKING:
    import torch

DRIVER = Path("/proc/driver/nvidia/version")
GPU_KINDS = "gpu"  # the start of the kinds of node with a GPU: gpu, gpu-spot
SECONDS_FOR_SMI = 20.0
ON_CPU = "or train on a processor: mynah submit --no-gpu, or on your own machine without MYNAH_NODE_KIND"


def require_gpu_of_node() -> None:
    """Raise PlatformError on a node of a GPU's kind whose torch sees no GPU: it costs a GPU's price, and would train on its processor.

    torch is imported only on such a node.
    """
    kind = node_kind()
    if not kind.startswith(GPU_KINDS):
        return
    import torch

    if torch.cuda.is_available():
        return
    built = torch.version.cuda
    driver = _first_line(DRIVER)
    seen = (
        f"driver: {driver or f'none ({DRIVER} is missing)'}; nvidia-smi: {_nvidia_smi()}; torch {torch.__version__}, "
        f"built for {f'CUDA {built}' if built else 'the processor alone'}: {_torch_answer()}"
    )
    if not built:
        fix = 'Build the images with CUDA (make images ARGS="--build-arg TORCH_INDEX=") and name them: --images'
    elif not driver:
        fix = "Check the node's driver, and that NVIDIA's device plugin gives the pod a GPU (k8s/README.md, the GPU node pool)"
    else:
        fix = f"Give the node a driver for CUDA {built} (nvidia-smi shows the newest that its driver supports)"
    raise PlatformError(
        f"this node is of the kind {kind!r} (MYNAH_NODE_KIND), and torch sees no GPU there. Seen: {seen}", f"{fix}; {ON_CPU}."
    )


def device_name(device: "torch.device") -> str:
    """Return the name of a GPU or of this machine's processor, such as "NVIDIA H200"."""
    import torch

    return str(torch.cuda.get_device_name(device)) if device.type == "cuda" else processor_name()


def computes_in_bf16(device: str) -> bool:
    """Whether the device multiplies bf16 matrices in hardware; without that, bf16 is slower than fp32."""
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        # On macOS torch's own bf16 product is slow, whatever the processor supports.
        return False
    can = torch.cpu.get_capabilities()
    return any(can.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def kernels(device: "torch.device") -> str:
    """Return the instructions that torch's kernels use on a device: "CUDA 13.0, sm_90", or "AVX512"."""
    import torch

    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return f"CUDA {torch.version.cuda}, sm_{major}{minor}"
    return str(torch.backends.cpu.get_cpu_capability())


def _first_line(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").split("\n")[0].strip()[:120]
    except OSError:
        return ""


def _nvidia_smi() -> str:
    """Return the GPUs that nvidia-smi lists, or why it lists none, in a line."""
    program = shutil.which("nvidia-smi")
    if not program:
        return "not there"
    try:
        done = subprocess.run([program, "-L"], capture_output=True, text=True, check=False, timeout=SECONDS_FOR_SMI)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it fails ({type(error).__name__})"
    lines = (done.stdout or done.stderr).strip().splitlines()
    return "; ".join(line.partition(" (UUID")[0] for line in lines[:4])[:200] or f"no answer (exit code {done.returncode})"


def _torch_answer() -> str:
    """Return why torch has no GPU, in its own words."""
    import torch

    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        return str(error).strip().split("\n")[0][:200]
    return f"{torch.cuda.device_count()} GPUs"
