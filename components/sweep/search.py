"""Optuna's part: which recipe to try next, whether a trial is worth going on with, and what mattered in the end."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from components.sweep.records import COMPLETED, FAILED, PRUNED, RUNNING, Trial
from components.sweep.space import Space

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

AT_RANDOM = 5  # finished trials before the sampler learns from them
FEWEST_TO_PRUNE = 4  # completed trials before any is pruned
FIRST_EPOCH = 2  # after which a trial may be pruned: a large batch is slow in the first one, and no worse for it
FEWEST_TO_JUDGE = 20  # finished trials before anybody may say what mattered: with a dozen it is chance


def propose(space: Space, siblings: Sequence[Trial], seed: int, number: int) -> dict[str, Any]:
    """Parameters for the trial `number`, given what its siblings found: the same for the same siblings and seed.

    The first is the recipe itself, so that no sweep ends with less. The rest by the tree-structured Parzen estimator (Bergstra et al.
    2011), all parameters together; siblings that still run count as bad ones, so that trials at the same time differ.
    """
    if number == 1:
        return space.middle()
    study = _study(space, siblings, _seed(seed, number))
    return dict(study.ask(space.distributions()).params)


def is_hopeless(space: Space, siblings: Sequence[Trial], params: dict[str, Any], losses: Sequence[float]) -> bool:
    """Whether a trial with these held-out losses after its epochs so far can be ended: see `_study`'s pruner."""
    study = _study(space, siblings, 0)
    mine = _frozen(space, Trial(0, RUNNING, params, losses=losses))
    if not mine:
        return False
    study.add_trial(mine)
    return bool(study.pruner.prune(study, study.trials[-1]))


def importances(space_keys: Sequence[str], trials: Sequence[Trial]) -> dict[str, float]:
    """The share of each parameter in how much the loss varied, 0 to 1; {} where too few trials are done to say.

    By PED-ANOVA (Watanabe et al. 2023): https://arxiv.org/abs/2304.10255
    """
    done = [
        trial for trial in trials if trial.state in (COMPLETED, PRUNED) and trial.losses and set(trial.params) == set(space_keys)
    ]
    varied = [key for key in space_keys if len({repr(trial.params[key]) for trial in done}) > 1]
    if len(done) < FEWEST_TO_JUDGE or len(varied) < 2 or len({trial.loss for trial in done}) < 2:
        return {}
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    study = _empty(0)
    for trial in done:
        study.add_trial(_seen(trial, {key: _spread([each.params[key] for each in done]) for key in varied}))
    found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), params=varied)
    return {key: round(float(share), 3) for key, share in found.items()}


def _study(space: Space, siblings: Sequence[Trial], seed: int) -> "Study":
    """A study in memory of what the siblings found.

    Pruned is a trial whose lowest loss so far is above the median of what completed trials had reached at that epoch (MedianPruner).
    """
    study = _empty(seed)
    for trial in siblings:
        if frozen := _frozen(space, trial):
            study.add_trial(frozen)
    return study


def _empty(seed: int) -> "Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(multivariate=True, constant_liar=True, n_startup_trials=AT_RANDOM, seed=seed)
    return optuna.create_study(sampler=sampler, pruner=optuna.pruners.MedianPruner(FEWEST_TO_PRUNE, n_warmup_steps=FIRST_EPOCH))


def _frozen(space: Space, trial: Trial) -> "FrozenTrial | None":
    """A sibling as Optuna knows it; None for one that tells nothing or was not drawn from this space."""
    from optuna.trial import TrialState, create_trial

    # A trial that failed counts as the worst of the pruned, so that what made it fail is not drawn again.
    states = {
        COMPLETED: TrialState.COMPLETE, PRUNED: TrialState.PRUNED, FAILED: TrialState.PRUNED, RUNNING: TrialState.RUNNING,
    }  # fmt: skip
    distributions = space.distributions()
    if trial.state not in states or set(trial.params) != set(distributions):
        return None
    best, lowest = {}, float("inf")
    for epoch, loss in enumerate(trial.losses, 1):
        best[epoch] = lowest = min(lowest, loss)  # an epoch that learnt too much by heart is not what would be kept
    try:
        return create_trial(
            state=states[trial.state], params=dict(trial.params), distributions=distributions,
            value=lowest if trial.state == COMPLETED else None, intermediate_values={} if trial.state == FAILED else best,
        )  # fmt: skip
    except (ValueError, TypeError, KeyError):
        return None


def _seed(seed: int, number: int) -> int:
    """A seed for each trial, so that those that see the same siblings draw differently."""
    import numpy as np

    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _spread(values: Sequence[Any]) -> "BaseDistribution":
    """A distribution that holds these values; over more than one order of magnitude its logarithm counts."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if not all(isinstance(value, int | float) for value in values):
        return CategoricalDistribution(sorted(set(values), key=repr))
    low, high = min(values), max(values)
    return FloatDistribution(low, high, log=low > 0 and high > 10 * low)


def _seen(trial: Trial, distributions: "dict[str, BaseDistribution]") -> "FrozenTrial":
    from optuna.trial import create_trial

    return create_trial(params={key: trial.params[key] for key in distributions}, distributions=distributions, value=trial.loss)
