"""forget as a Kubeflow step."""

from kfp import dsl

from components.steps import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def forget(subject: str, blends: str, receipt: dsl.Output[dsl.Artifact]) -> None:
    """Erase everything of `subject`, an @author or a bot; `blends` is "remove" or "". The output is the signed receipt."""
    import os
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from components.cluster import Cluster
    from components.forget import forget as work
    from components.forget.find import Subject
    from components.steps import step
    from components.store import open_store

    with step("forget", ""), TemporaryDirectory() as scratch:
        folder = Path(os.environ.get("MYNAH_WORKDIR") or scratch)
        work(Subject.parse(subject), open_store(folder), Cluster.connect(), "remove" if blends else "", Path(receipt.path))
