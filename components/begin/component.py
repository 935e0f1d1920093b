"""begin as a Kubeflow step."""

from typing import Any

from kfp import dsl

from components.steps import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def begin(name: str, base_model: str, rules: str, recipe: dict[str, Any], limit: int, budget: float, kfp_run: str) -> str:
    """Check the order, and return the id of its MLflow run, which every step after it writes to."""
    from pathlib import Path

    from components.begin import begin as work
    from components.filter.rules import judge_for
    from components.finetune.recipe import build
    from components.steps import step
    from components.store import Store

    with step("begin", ""):
        judge_for(rules)
        params = {"base_model": Path(base_model).name, "rules": rules, "limit": limit, "budget": budget}
        return work(name, kfp_run, Store.from_environment(), {**params, **build(**recipe).known()})
