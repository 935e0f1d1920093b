"""Versions of a bot, deployed without long waits; and how commands refuse."""

from components.deploy.settings import DeploySettings
from components.deploy.step import Serving, WaitLimits, deploy

QUICK = WaitLimits(timeout=5, poll=0.01, trouble=0.03, answer=0.05)


def serving(version, name="wren", **parts):
    return Serving(name, version, f"s3://b/mlflow/1/models/m-{version}/artifacts/model", 8 << 20, f"m-{version}", **parts)


def go(cluster, version, **settings):
    return deploy(serving(version), cluster, DeploySettings(wait_limits=QUICK, **settings))


def uri(kserve):
    return kserve.predictor()["model"]["storageUri"]


def refused(done, code, *said):
    assert (done.returncode, done.stdout) == (code, ""), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for text in said:
        assert text in done.stderr
