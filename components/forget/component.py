"""forget as a Kubeflow step. Kubeflow runs only the function's source, so the function imports what it needs."""

from kfp import dsl

from components.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def forget(subject: str, blends: str, receipt: dsl.Output[dsl.Artifact]) -> None:
    """Erase everything of an author or a bot, and write the signed receipt.

    Args:
        subject: An @author, or a bot's name.
        blends: "remove" to erase bots that also used other authors; "" to fail where there are any.
        receipt: The file to write.
    """
    from pathlib import Path

    from components.forget.inventory import Subject
    from components.forget.step import forget
    from components.step_runtime import process
    from mynah.core.errors import InputError
    from mynah.core.settings import MYNAH_WORKDIR
    from mynah.kubernetes.cluster import Cluster
    from mynah.tracking.open import open_store

    with process("forget"):
        folder = MYNAH_WORKDIR.get()
        if not folder or blends not in ("", "remove"):
            raise InputError(
                f"MYNAH_WORKDIR is {str(folder or '')!r} and blends {blends!r}",
                "Mount a persistent volume for the journal and the key, name it in MYNAH_WORKDIR, and use blends remove.",
            )
        forget(Subject.parse(subject), open_store(folder), Cluster.connect(), "remove" if blends else "", Path(receipt.path))
