"""forget as a Kubeflow step."""

from kfp import dsl

from components.steps import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def forget(subject: str, blends: str, receipt: dsl.Output[dsl.Artifact]) -> None:
    """Erase everything of `subject`, an @author or a bot; `blends` is "remove" or "". The output is the signed receipt."""
    import os
    from pathlib import Path

    from components.cluster import Cluster
    from components.errors import InputError
    from components.forget import forget as work
    from components.forget.find import Subject
    from components.steps import step
    from components.store import open_store

    with step("forget", ""):
        folder = os.environ.get("MYNAH_WORKDIR", "")
        if not folder or blends not in ("", "remove"):
            raise InputError(
                f"MYNAH_WORKDIR is {folder!r} and blends {blends!r}",
                "Mount a volume that stays, for the journal and the key, name it in MYNAH_WORKDIR, and use blends remove.",
            )
        work(Subject.parse(subject), open_store(Path(folder)), Cluster.connect(), "remove" if blends else "", Path(receipt.path))
