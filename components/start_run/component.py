"""start_run as a Kubeflow step."""

from typing import Any

from kfp import dsl

from components.images import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def start_run(name: str, base_model: str, rules: str, recipe: dict[str, Any], limit: int, budget: float, kfp_run: str) -> str:
    """Validate the parameters, and return the id of the MLflow run to which every later step writes."""
    from pathlib import Path

    from components.filter.rules import rule_for
    from components.step_runtime import step
    from mynah.mlflow_client.store import Store
    from mynah.registry.forgotten_bots import refuse_forgotten_bot
    from mynah.tracking.kfp_runs import start_run
    from mynah.training.recipe import build

    with step("start_run", ""):
        rule_for(rules)
        params = {"base_model": Path(base_model).name, "rules": rules, "limit": limit, "budget": budget}
        refuse_forgotten_bot(Store.from_environment(), name)
        return start_run(name, kfp_run, Store.from_environment(), {**params, **build(**recipe).to_record()})
