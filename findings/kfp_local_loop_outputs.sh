#!/usr/bin/env bash
# kfp 2.17.0, local runner: a task inside dsl.ParallelFor takes the loop's item and the output of a task before the loop.
#
# Guess: as on Kubeflow, the item in one parameter and the earlier output in the other.
# Seen: the item in both. The output of the earlier task is replaced by the loop's item, without an error or a warning, as long as the types
# are those of the parameter. Outside the loop the same output arrives as it should.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check kfp==2.17.0
cat >"$folder/loop.py" <<'PY'
import json
import sys

from kfp import dsl, local


@dsl.component(install_kfp_package=False)
def before() -> str:
    return "from the task before"


@dsl.component(install_kfp_package=False)
def note(item: str, earlier: str, into: str):
    import json

    with open(into, "a") as file:
        file.write(json.dumps([item, earlier]) + "\n")


@dsl.pipeline
def both(into: str):
    made = before()
    note(item="no loop", earlier=made.output, into=into)
    with dsl.ParallelFor(["one", "two"]) as item:
        note(item=item, earlier=made.output, into=into)


folder = sys.argv[1]
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=f"{folder}/root")
both(into=f"{folder}/noted")
with open(f"{folder}/found", "w") as file:
    file.write(json.dumps(sorted(json.loads(line) for line in open(f"{folder}/noted"))))
PY
PATH="$folder/venv/bin:$PATH" "$folder/venv/bin/python" -W ignore "$folder/loop.py" "$folder" >"$folder/out" 2>&1 || { tail -5 "$folder/out"; exit 1; }
echo "kfp 2.17.0: $(cat "$folder/found")"
[ "$(cat "$folder/found")" = '[["no loop", "from the task before"], ["one", "one"], ["two", "two"]]' ]
