"""Uses Optuna to propose the next recipe, to stop unpromising trials early, and to compute parameter importances.

Optuna is an optional dependency and takes 0.3 s to import, so it is imported in functions.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from components.sweep.search_space import Space
from components.sweep.trial_records import COMPLETED, FAILED, PRUNED, RUNNING, Trial

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

RANDOM_TRIALS = 5  # finished trials before the sampler learns from them
MIN_TRIALS_TO_PRUNE = 4  # completed trials before any is pruned
WARMUP_EPOCHS = 2  # epochs before a trial can be pruned: a large batch learns slowly in the first epoch without being worse
MIN_TRIALS_FOR_IMPORTANCE = 20  # finished trials before importances are computed; with a dozen they are chance


def propose(space: Space, siblings: Sequence[Trial], seed: int, number: int) -> dict[str, Any]:
    """Return parameters for a trial; they are reproducible for the same siblings and seed.

    The first trial is the recipe itself, so that a sweep never ends with a worse one. Others come from the tree-structured Parzen
    estimator (Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization"), for all parameters jointly; running siblings count
    as bad ones, so that concurrent trials differ.

    Args:
        space: the search space.
        siblings: the other trials.
        seed: the sweep's seed.
        number: the trial's number, from 1.

    Returns:
        The samples, by the recipe's key.
    """
    if number == 1:
        return space.initial()
    study = _study(space, siblings, _seed(seed, number))
    return dict(study.ask(space.distributions()).params)


def should_prune(space: Space, siblings: Sequence[Trial], params: dict[str, Any], losses: Sequence[float]) -> bool:
    """Whether to stop a trial early: its lowest loss is above the median of completed trials at that epoch.

    This is Optuna's MedianPruner, after the median stopping rule of Golovin et al. 2017, "Google Vizier".

    Args:
        space: the search space.
        siblings: the other trials.
        params: the trial's parameters.
        losses: its held-out losses so far, one per epoch, in nats per token.
    """
    study = _study(space, siblings, 0)
    current_trial = _to_optuna(space, Trial(0, RUNNING, params, losses=losses))
    if not current_trial:
        return False
    study.add_trial(current_trial)
    return bool(study.pruner.prune(study, study.trials[-1]))


def importances(space_keys: Sequence[str], trials: Sequence[Trial]) -> dict[str, float]:
    """Return each parameter's share in the variation of the loss, 0 to 1; {} after too few trials.

    The method is PED-ANOVA (Watanabe et al. 2023, https://arxiv.org/abs/2304.10255).

    Args:
        space_keys: the parameters of the search space.
        trials: all trials.
    """
    finished = [
        trial for trial in trials if trial.state in (COMPLETED, PRUNED) and trial.losses and set(trial.params) == set(space_keys)
    ]
    varied = [key for key in space_keys if len({repr(trial.params[key]) for trial in finished}) > 1]
    if len(finished) < MIN_TRIALS_FOR_IMPORTANCE or len(varied) < 2 or len({trial.loss for trial in finished}) < 2:
        return {}
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    study = _empty_study(0)
    for trial in finished:
        study.add_trial(
            _to_optuna_varied(trial, {key: _distribution_of([other.params[key] for other in finished]) for key in varied})
        )
    shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), params=varied)
    return {key: round(float(share), 3) for key, share in shares.items()}


def _study(space: Space, siblings: Sequence[Trial], seed: int) -> "Study":
    """Create an in-memory study of the siblings' results."""
    study = _empty_study(seed)
    for trial in siblings:
        if frozen := _to_optuna(space, trial):
            study.add_trial(frozen)
    return study


def _empty_study(seed: int) -> "Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(multivariate=True, constant_liar=True, n_startup_trials=RANDOM_TRIALS, seed=seed)
    return optuna.create_study(
        sampler=sampler, pruner=optuna.pruners.MedianPruner(MIN_TRIALS_TO_PRUNE, n_warmup_steps=WARMUP_EPOCHS)
    )


def _to_optuna(space: Space, trial: Trial) -> "FrozenTrial | None":
    """Convert a sibling to an Optuna trial; None for one without results or from another space."""
    from optuna.trial import TrialState, create_trial

    # A failed trial counts as the worst of the pruned ones, so that its parameters are not sampled again.
    states = {
        COMPLETED: TrialState.COMPLETE, PRUNED: TrialState.PRUNED, FAILED: TrialState.PRUNED, RUNNING: TrialState.RUNNING,
    }  # fmt: skip
    distributions = space.distributions()
    if trial.state not in states or set(trial.params) != set(distributions):
        return None
    best_so_far, lowest = {}, float("inf")
    for epoch, loss in enumerate(trial.losses, 1):
        best_so_far[epoch] = lowest = min(lowest, loss)  # the best epoch's weights are kept, so later overfitting does not count
    try:
        return create_trial(
            state=states[trial.state], params=dict(trial.params), distributions=distributions,
            value=lowest if trial.state == COMPLETED else None, intermediate_values={} if trial.state == FAILED else best_so_far,
        )  # fmt: skip
    except (ValueError, TypeError, KeyError):
        return None


def _seed(seed: int, number: int) -> int:
    """Return the trial's own seed, so that trials with the same siblings sample different parameters."""
    import numpy as np

    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _distribution_of(values: Sequence[Any]) -> "BaseDistribution":
    """Return a distribution that spans these values; logarithmic over more than one order of magnitude."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if not all(isinstance(value, int | float) for value in values):
        return CategoricalDistribution(sorted(set(values), key=repr))
    low, high = min(values), max(values)
    return FloatDistribution(low, high, log=low > 0 and high > 10 * low)


def _to_optuna_varied(trial: Trial, distributions: "dict[str, BaseDistribution]") -> "FrozenTrial":
    from optuna.trial import create_trial

    return create_trial(params={key: trial.params[key] for key in distributions}, distributions=distributions, value=trial.loss)
