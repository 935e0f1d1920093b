"""The pipelines of a cluster, run by Kubeflow's local runner: each step a process, its files in a real S3, its record in a real MLflow."""

import os
import subprocess

from tests.fork_client import RUN_CODE

LOCAL = """
import sys
from kfp import local
from pipelines.definitions.bot import on_a_cluster
from pipelines.definitions.sweep import sweep_on_a_cluster
from pipelines.kfp_compat import keep_outputs_in_loops
from pipelines.local.runner import _keep_python3_in_parameters
from pipelines.placement import Placement

root, spec, kind = sys.argv[1:]
_keep_python3_in_parameters()
keep_outputs_in_loops()
placement = Placement(gpu=False, lock="")  # no node pool and no Lease here
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=root)
if kind == "sweep":
    sweep_on_a_cluster(placement, 1)(spec=spec, trials=[1, 2])
else:
    on_a_cluster(placement, only_news=kind == "news")(spec=spec)
"""


def run_pipeline(spec, root, kind="bot"):
    """Run the bot of a specification by its reference; Kubeflow's own files are below `root`."""
    environment = os.environ | {"PYTHONWARNINGS": "ignore", "_KFP_RUNTIME": "false"}
    command = [*RUN_CODE, LOCAL, str(root), spec, kind]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)


def keys_of(client, bucket, prefix=""):
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [each["Key"] for page in pages for each in page.get("Contents", [])]
