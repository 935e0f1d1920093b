#!/usr/bin/env bash
# croniter 7.0.0: a range whose ends are the same value, such as 3-3.
#
# Guess: the one value, as in Vixie cron, and as cron-descriptor words it ("Sunday through Sunday").
# Seen: every value of the field. "0 3-3 * * *" comes every hour, "0 3 * * 0-0" every day. With a step of
# one, 3-3/1, it is the same. A range of two, 3-4, is read as one would guess. Nothing is raised.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check croniter==7.0.0 cron-descriptor==2.2.1
"$folder/venv/bin/python" - <<'PY'
from datetime import datetime

from cron_descriptor import get_description
from croniter import croniter


def next_two(expression):
    times = croniter(expression, datetime(2026, 1, 1))
    return [times.get_next(datetime).strftime("%a %d %H:%M") for _ in range(2)]


found = {each: next_two(each) for each in ("0 3 * * *", "0 3-3 * * *", "0 3-3/1 * * *", "0 3-4 * * *", "0 3 * * 0", "0 3 * * 0-0")}
for expression, times in found.items():
    print(expression, times)
print(get_description("0 3 * * 0-0"))
assert found["0 3-3 * * *"] == found["0 3-3/1 * * *"] == ["Thu 01 01:00", "Thu 01 02:00"]
assert found["0 3 * * *"] == ["Thu 01 03:00", "Fri 02 03:00"]
assert found["0 3-4 * * *"] == ["Thu 01 03:00", "Thu 01 04:00"]
assert found["0 3 * * 0-0"] == ["Thu 01 03:00", "Fri 02 03:00"]
assert found["0 3 * * 0"] == ["Sun 04 03:00", "Sun 11 03:00"]
assert get_description("0 3 * * 0-0").endswith("Sunday through Sunday")
PY
