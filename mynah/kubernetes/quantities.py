"""Quantities of Kubernetes, such as "500m" of a core or "1536Mi" of memory.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity
"""

import math
import re
from decimal import Decimal

QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([A-Za-z]{0,2})")
UNITS = {"": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("0.001")}
UNITS |= {prefix: Decimal(1000) ** power for power, prefix in enumerate("kMGTP", 1)}
UNITS |= {f"{prefix}i": Decimal(1024) ** power for power, prefix in enumerate("KMGTP", 1)}
MIB = 1 << 20
STEP_MIB = 128  # what memory is rounded up to


def amount(quantity: object) -> Decimal:
    """Convert a quantity to a number: "500m" is 0.5, "1Gi" is 1073741824. Raises ValueError for anything else."""
    match = QUANTITY.fullmatch(str(quantity))
    if not match or match[2] not in UNITS:
        raise ValueError(f"{str(quantity)[:40]!r} is no quantity of Kubernetes")
    return Decimal(match[1]) * UNITS[match[2]]


def mebibytes(bytes_: float) -> str:
    """Return memory as a quantity, rounded up to 128 MiB."""
    return f"{STEP_MIB * math.ceil(bytes_ / (STEP_MIB * MIB))}Mi"
