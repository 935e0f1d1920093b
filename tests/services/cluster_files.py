"""What runs on a cluster leave: in Kubeflow, in its own object store, in Mynah's bucket, and in MLflow."""

import hashlib
import json
import uuid
from dataclasses import dataclass, field

from components.run_inputs import RunInputs
from mynah.data.authors import authors_tags
from mynah.mlflow_client.store import Store
from mynah.storage.run_files import RunFiles, new_id
from mynah.tracking.kfp_runs import KFP_RUN_TAG, start_run
from mynah.tracking.runs import end_run
from mynah.tracking.step_run import step_run

ROOT = "v2/artifacts"  # of Kubeflow's pipelines, in its bucket


@dataclass
class ClusterFiles:
    """Makes them; `client` is boto3's, and `bucket` is both Mynah's and Kubeflow's."""

    kubeflow: object
    client: object
    bucket: str
    folder: object
    text: str = "a letter from home"
    ids: dict = field(default_factory=dict)

    def put(self, key, text):
        self.client.put_object(Bucket=self.bucket, Key=key, Body=text.encode())

    def object_keys(self, prefix=""):
        page = self.client.list_object_versions(Bucket=self.bucket, Prefix=prefix)
        return sorted({item["Key"] for item in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]})

    def submitted(self, bot, sources=("sample",), basis=""):
        """The files of a submission, with an upload; the reference of its specification."""
        files = self.ids[bot] = RunFiles(self.bucket, new_id())
        specification = RunInputs(bot, list(sources), "fledgling", basis=basis).to_bytes()
        self.put(f"{files.prefix}/spec.json", specification.decode())
        self.put(f"{files.prefix}/uploads/posts.jsonl", self.post("somebody"))
        return f"{files.spec}#sha256={hashlib.sha256(specification).hexdigest()}"

    def post(self, author):
        return json.dumps({"id": "1", "author": author, "text": self.text}) + "\n"

    def run(self, bot, author="ann", sources=("sample",), state="SUCCEEDED", schedule="", spec="", recorded=True):
        """A run of this version; its id in Kubeflow."""
        spec = spec or self.submitted(bot, sources)
        files = self.ids[bot]
        parts = {"recurring_run_id": schedule} if schedule else {}
        kfp_run = self.kubeflow.add_run(
            f"mynah-{files.id}-20261201-000000", runtime_config={"parameters": {"spec": spec}}, at=(state, {}),
            workflow=f"mynah-bot-{uuid.uuid4().hex[:5]}", **parts,
        )  # fmt: skip
        for step, text in (("raw", self.post(author)), ("data", self.post(author)), ("logs", f"fetched of {author} for {bot}")):
            self.put(f"{files.prefix}/{kfp_run}/{step}/posts.jsonl", text)
        if recorded:
            self.record(bot, kfp_run, author)
        return kfp_run

    def record(self, bot, kfp_run, author):
        """What the steps record in MLflow."""
        store = Store.from_environment()
        run = start_run(bot, kfp_run, store, {"rules": "default"})
        (self.folder / "raw").mkdir(exist_ok=True)
        (self.folder / "raw" / "posts.jsonl").write_text(self.post(author))
        with step_run("fetch", store, run) as step:
            step.tags({KFP_RUN_TAG: kfp_run, **authors_tags([author])})
            step.artifacts(self.folder / "raw", "raw")
        end_run(store, run, "FINISHED")

    def earlier_run(self, bot, author="ann", parameters=None, pipeline="mynah-bot", recorded=True, **parts):
        """A run of an earlier version, which left all in Kubeflow; its id."""
        workflow = f"{pipeline}-{uuid.uuid4().hex[:5]}"
        kfp_run = self.kubeflow.add_run(
            f"{bot}-20261130-000000", runtime_config={"parameters": parameters or {"name": bot, "sources": [f"x://{author}"]}},
            workflow=workflow, **{"at": ("SUCCEEDED", {}), **parts},
        )  # fmt: skip
        step = f"{ROOT}/{pipeline}/{kfp_run}/fetch/{uuid.uuid4()}"
        self.put(f"{step}/raw/posts.jsonl", self.post(author))
        self.put(f"{step}/executor-logs", f"reading {author} for {bot}")
        self.put(f"private-artifacts/kubeflow/{workflow}/{workflow}-impl-1/main.log", f"{bot}: {self.text}")
        self.put(f"artifacts/{workflow}/{workflow}-impl-1/main.log", f"{bot}: {self.text}")
        if recorded:
            self.record(bot, kfp_run, author)
        return kfp_run

    def scheduled(self, parameters):
        """A schedule; its id."""
        made = {
            "recurring_run_id": str(uuid.uuid4()), "display_name": "a schedule", "status": "ENABLED", "created_at": "2026-12-01T00:00:00Z",
            "runtime_config": {"parameters": parameters}, "trigger": {"cron_schedule": {"cron": "0 0 3 * * *"}},
        }  # fmt: skip
        self.kubeflow.recurring.append(made)
        return made["recurring_run_id"]

    def everything(self):
        """Every byte that Kubeflow and S3 keep."""
        return (
            json.dumps([self.kubeflow.runs, self.kubeflow.recurring, self.kubeflow.experiments, self.kubeflow.logs])
            + self.stored()
        )

    def stored(self):
        """Every byte in every bucket, with the names of the objects."""
        kept = []
        for bucket in self.client.list_buckets()["Buckets"]:
            for page in self.client.get_paginator("list_object_versions").paginate(Bucket=bucket["Name"]):
                for item in page.get("Versions", []):
                    body = self.client.get_object(Bucket=bucket["Name"], Key=item["Key"], VersionId=item["VersionId"])[
                        "Body"
                    ].read()
                    kept.append(f"{item['Key']}\n{body.decode('utf-8', 'replace')}")
                kept += [item["Key"] for item in page.get("DeleteMarkers", [])]
        return "\n".join(kept)
