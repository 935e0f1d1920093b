"""Render and check all of k8s/: `python -m scripts.manifests`. Exit codes: 0 for no fault, 1 for faults, 2 when rendering fails."""

import sys

from mynah.core.errors import MynahError
from scripts.manifests.checks import CHECKS, faults_of
from scripts.manifests.render import render_all
from scripts.manifests.schemas import unchecked


def main() -> int:
    """Print a line per fault, with the first rendering that has it, and a summary; return the exit code."""
    try:
        renderings = render_all()
    except MynahError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    seen: dict[str, str] = {}
    for manifests in renderings:
        for fault in faults_of(manifests):
            seen.setdefault(str(fault), manifests.name)
    for fault_text, name in seen.items():
        print(f"{name}: {fault_text}")
    others = sorted(set().union(*map(unchecked, renderings)))
    objects = len({str(item) for manifests in renderings for item in manifests.objects})
    print(f"{len(renderings)} renderings, {objects} different objects, {len(CHECKS)} checks: {len(seen)} faults.")
    print(f"Without a schema here: {', '.join(others)}.")
    return 1 if seen else 0


if __name__ == "__main__":
    sys.exit(main())
