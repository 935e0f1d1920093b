"""Render and check all of k8s/: `python -m scripts.manifests`. Exit codes: 0 all holds, 1 something does not, 2 no rendering."""

import sys

from components.errors import MynahError
from scripts.manifests.checks import CHECKS, faults_of
from scripts.manifests.render import render_all
from scripts.manifests.schemas import unchecked


def main() -> int:
    """Print a line per fault, once each with the first rendering that has it, and the numbers; return the exit code."""
    try:
        renderings = render_all()
    except MynahError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    seen: dict[str, str] = {}
    for manifests in renderings:
        for fault in faults_of(manifests):
            seen.setdefault(str(fault), manifests.name)
    for told, name in seen.items():
        print(f"{name}: {told}")
    others = sorted(set().union(*map(unchecked, renderings)))
    objects = len({str(each) for manifests in renderings for each in manifests.objects})
    print(f"{len(renderings)} renderings, {objects} different objects, {len(CHECKS)} checks: {len(seen)} faults.")
    print(f"Without a schema here: {', '.join(others)}.")
    return 1 if seen else 0


if __name__ == "__main__":
    sys.exit(main())
