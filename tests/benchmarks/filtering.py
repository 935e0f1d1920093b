"""How fast posts are filtered, and in how much memory: `python -m tests.benchmarks.filtering [FOLDER]`, a folder that `mynah fetch` wrote.

100,000 posts: the folder's own, then more made of their words, six of ten changed, so that hardly any is like another; without a
folder ../shared/data/tweets/julia.csv is taken. Each run is a process of its own, from its start to the files on disk. Two peers in the
same run: the original's own rules alone (nothing read, written or split), and datasketch, with its own choice of
bands for a jaccard of 0.7, beside what finds near duplicates here. Then the default rules with one left out, one by one.
Machines differ and wander: quote the ratios.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from components.filter.rule_selection import OFF, ON
from mynah.core.files import read_lines

POSTS, PEER_POSTS = 100_000, 20_000
BARS = {"default": (60.0, 1000), "huggingtweets": (5.0, 1000)}  # seconds and MB on two cores
CSV = Path(__file__).parents[3] / "shared/data/tweets/julia.csv"

OURS = """
import json, resource, sys, time
from pathlib import Path
from components.filter.step import FilterSettings, filter_posts
raw, out, rules = sys.argv[1:]
began = time.perf_counter()
funnel = filter_posts(Path(raw), Path(out), FilterSettings(rules))
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"seconds": time.perf_counter() - began, "cpu": used.ru_utime + used.ru_stime, "megabytes": used.ru_maxrss / 1024,
                  "kept": sum(author.kept for author in funnel.authors)}))
"""
ORIGINAL = """
import json, sys, time
from components.filter.rules import huggingtweets
from mynah.data.posts import Post
texts = [json.loads(line)["text"] for line in open(sys.argv[1], encoding="utf-8")]
began = time.perf_counter()
for text in texts:
    huggingtweets(Post("", "", text))
print(json.dumps({"seconds": time.perf_counter() - began}))
"""
NEAR = """
import json, sys, time
from components.filter.near_duplicates import NearDuplicateIndex, jaccard, word_pairs
texts = [json.loads(line)["text"] for line in open(sys.argv[1], encoding="utf-8")][:int(sys.argv[2])]
began, alike = time.perf_counter(), NearDuplicateIndex()
found = sum(bool(alike.add(text, keep=True)) for text in texts)
ours = time.perf_counter() - began
try:
    from datasketch import MinHash, MinHashLSH
except ImportError:
    print(json.dumps({"ours": ours, "found": found}))
    raise SystemExit
began, index, theirs = time.perf_counter(), MinHashLSH(threshold=0.7, num_perm=128), 0
pairs, empty = [word_pairs(text) for text in texts], MinHash(num_perm=128)
for number, each in enumerate(pairs):
    sketch = empty.copy()
    sketch.update_batch([pair.encode() for pair in each])
    theirs += any(jaccard(each, pairs[other]) >= 0.7 for other in index.query(sketch))
    index.insert(number, sketch, check_duplication=False)
print(json.dumps({"ours": ours, "found": found, "theirs": time.perf_counter() - began, "they found": theirs}))
"""


def run(code: str, *words: Any) -> dict[str, Any]:
    """What a process of its own prints."""
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, words)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return dict(json.loads(done.stdout))


def make_posts(raw: Path, out: Path) -> Path:
    """100,000 posts in `out`."""
    own = list(read_lines(raw / "posts.jsonl", "fetch"))[:POSTS]
    words, chance = [word for post in own for word in post["text"].split()], random.Random(5)
    out.mkdir()
    with (out / "posts.jsonl").open("w", encoding="utf-8") as file:
        for number in range(POSTS):
            post = {**own[number % len(own)], "id": str(number)}
            if number >= len(own):
                text = [chance.choice(words) if chance.random() < 0.6 else word for word in post["text"].split(" ")]
                post |= {"text": " ".join(text), "entities": []}
            file.write(json.dumps(post, ensure_ascii=False) + "\n")
    return out


def report(rules: str, found: dict[str, Any]) -> str:
    """A line about one run."""
    speed, bar = POSTS / found["seconds"], BARS.get(rules)
    cost = f"{found['seconds']:6.2f} s ({found['cpu']:.2f} of a core) {found['megabytes']:5.0f} MB"
    told = f"{rules:34} {speed:9,.0f} posts/s {cost}  kept {found['kept']:,}"
    return told + (f"  (at most {bar[0]:.0f} s, {bar[1]} MB)" if bar else "")


def main() -> None:
    """Print the numbers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if len(sys.argv) > 1:
            source = Path(sys.argv[1])
        else:
            from components.fetch.step import fetch

            source = folder / "source"
            fetch([str(CSV)], source, basis="permission")
        began = time.perf_counter()
        raw = make_posts(source, folder / "raw")
        print(f"{POSTS:,} posts made in {time.perf_counter() - began:.1f} s", flush=True)
        for rules in BARS:
            print(report(rules, run(OURS, raw, folder / "out", rules)), flush=True)
        print(f"{'the original cleaning alone':34} {run(ORIGINAL, raw / 'posts.jsonl')['seconds']:.2f} s", flush=True)
        near = run(NEAR, raw / "posts.jsonl", PEER_POSTS)
        print(f"near duplicates of {PEER_POSTS:,}: {near['ours']:.2f} s, {near['found']} found", end="")
        print(
            f"; datasketch {near['theirs']:.2f} s, {near['they found']} found"
            if "theirs" in near
            else "; datasketch is not installed"
        )
        for rule in ON:
            print(report(f"default,-{rule}", run(OURS, raw, folder / "out", f"default,-{rule}")), flush=True)
        for rule in OFF:
            print(report(f"default,+{rule}", run(OURS, raw, folder / "out", f"default,+{rule}")), flush=True)


if __name__ == "__main__":
    main()
