"""The card's sections for who wants to use the bot, or to be rid of it."""

from components.card.facts import PROMPT, Facts
from components.card.tables import number


def how_to_use(facts: Facts) -> str:
    """A snippet for transformers and a request for KServe's second protocol."""
    return f"""\
## How to use

With [transformers](https://huggingface.co/docs/transformers), in the folder that holds this file and the weights; from elsewhere,
write that folder in place of the dot, or the id that it has on the hub:

```python
from transformers import pipeline

generator = pipeline("text-generation", model=".")
for sample in generator("{PROMPT}", num_return_sequences=5):
    print(sample["generated_text"])
```

Where it is served, by KServe's Open Inference Protocol. Write the server's address, on a cluster the one that
`kubectl get inferenceservice {facts.name}` tells; a server with keys wants `-H "Authorization: Bearer $MYNAH_API_KEY"` besides:

```bash
curl http://localhost:8080/v2/models/{facts.name}/infer \\
  -H 'Content-Type: application/json' \\
  -d '{{"inputs": [{{"name": "prompt", "shape": [1], "datatype": "BYTES", "data": ["{PROMPT}"]}}], "parameters": {{"n": 5}}}}'
```"""


def limits(facts: Facts) -> str:
    """What not to expect of it, and what not to do with it."""
    return f"""\
## Limits and bias

- It imitates a manner of writing. It knows no facts, and what it claims about people, places or events is invented.
- It has [the limits and bias of GPT-2](https://huggingface.co/gpt2#limitations-and-bias) where GPT-2 is its base model, and
  always those of its author's posts, which further shape what it writes: it can be rude, unfair or wrong.{_swears(facts)}
- It was trained on few posts, so it can repeat one of them, or a part of one, word for word.{_remembers(facts)}
- It writes in the languages of its author's posts, and worse in any but English, which is GPT-2's.
- Don't pass off what it writes as the words of a person, and don't use it to decide anything about anybody."""


def removal(facts: Facts) -> str:
    """How a person gets out of it."""
    return """\
## How to have it removed

If these are your posts and you don't want this bot, ask the person who made it to take it down. For them it is one command,
`mynah forget @HANDLE`: the posts, the weights, this card and every record of them go from every store, nothing of yours is fetched
again, and they can give you the signed receipt. Copies that others took are beyond that person's reach."""


def about(facts: Facts) -> str:
    """Whose work this carries on, and how to make another."""
    return """\
## About

Made with Mynah, which carries on [huggingtweets](https://github.com/borisdayma/huggingtweets) by Boris Dayma; this card follows
the format of its cards. To make one of your own posts: `mynah run --name NAME --from EXPORT`."""


def _swears(facts: Facts) -> str:
    ours, theirs = facts.metrics.get("profanity_share"), facts.metrics.get("author_profanity_share")
    if ours is None or theirs is None:
        return ""
    return f"\n  Of its samples {_percent(ours)} had a profane word, of the posts {_percent(theirs)}."


def _remembers(facts: Facts) -> str:
    copied, leaked = facts.metrics.get("memorised_share"), facts.metrics.get("leaked_share")
    if copied is None:
        return ""
    also = f", and {_percent(leaked)} gave away personal data that stand in one" if leaked is not None else ""
    return f"\n  Of its samples {_percent(copied)} repeated a long run of words of a post{also}."


def _percent(share: float) -> str:
    return f"{number(100 * share)} %"
