"""Posts of a later time, and settings to go on with."""

from components.filter.step import FilterSettings, filter_posts
from components.finetune.settings import FinetuneSettings
from mynah.data.posts import write_posts
from mynah.training.recipe import build

RECIPE = {"epochs": 4, "patience": 0, "learning_rate": 5e-3, "batch_tokens": 256}
DAYS, PLACES, LATE = (
    ("on monday", "last week", "this time"),
    ("leeds", "york", "hull", "crewe", "derby"),
    ("two", "five", "nine", "ten"),
)
TRAINS = [
    f"{day} the train from {place} came {late} late {end}"
    for day in DAYS for place in PLACES for late in LATE for end in ("with no heat", "and full", "once again")
]  # fmt: skip


def filtered(folder, posts):
    (folder / "raw").mkdir(parents=True)
    write_posts(folder / "raw", posts)
    filter_posts(folder / "raw", folder / "data", FilterSettings("default,-near-duplicates"))
    return folder / "data"


def settings(base, **changes):
    return FinetuneSettings(str(base), build("default", {**RECIPE, **changes}))
