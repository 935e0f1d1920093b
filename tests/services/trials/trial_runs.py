"""A sweep whose trials are run one by one, with recipes that take moments."""

import itertools

from components.sweep.trial import TrialSettings, trial
from mynah.tracking.runs import start_parent, steps_of
from mynah.tracking.step_run import step_run
from mynah.training.recipe import build

QUICK = {"epochs": 2, "block": 32}
LONG = {"epochs": 4, "patience": 0, "block": 32, "batch_tokens": 128}


class Sweeping:
    """A sweep by hand: its pipeline run, and its trials one by one. Each is of another bot unless told: none goes on with another."""

    numbers = itertools.count(1)

    def __init__(self, store, data, base_model, changes=QUICK, bot="", **settings):
        self.store, self.data = store, data
        self.settings = {"base_model": str(base_model), "recipe": build("default", changes)} | settings
        self.parent = start_parent(store, bot or f"wren-{next(self.numbers)}", {})

    def run(self, number, **settings):
        with step_run(f"trial-{number}", self.store, self.parent) as run:
            return trial(self.data, TrialSettings(number, **{**self.settings, **settings}), self.store, run)

    def runs(self):
        return steps_of(self.store, self.parent)
