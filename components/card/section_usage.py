"""The card's sections on using the bot, its limits, and its removal."""

from components.card.front_matter import hub_name
from components.card.inputs import PROMPT, CardInputs
from components.card.markdown_table import number
from mynah.data.markdown import code, markdown


def how_to_use(inputs: CardInputs) -> str:
    """Return the section with a transformers snippet and a request in KServe's v2 protocol."""
    return f"""\
## How to use

With [transformers](https://huggingface.co/docs/transformers), in the folder with this file and the weights. From elsewhere, replace
the dot by that folder or by the model's id on the hub:

```python
from transformers import pipeline

generator = pipeline("text-generation", model=".")
for sample in generator("{PROMPT}", num_return_sequences=5):
    print(sample["generated_text"])
```
{_adapter(inputs)}
From a server, with KServe's Open Inference Protocol. Use the server's address; on a cluster,
`kubectl get inferenceservice {inputs.name}` shows it. A server with API keys also needs `-H "Authorization: Bearer $MYNAH_API_KEY"`:

```bash
curl http://localhost:8080/v2/models/{inputs.name}/infer \\
  -H 'Content-Type: application/json' \\
  -d '{{"inputs": [{{"name": "prompt", "shape": [1], "datatype": "BYTES", "data": ["{PROMPT}"]}}], "parameters": {{"n": 5}}}}'
```"""


def _adapter(inputs: CardInputs) -> str:
    """Return a paragraph on how an adapter is loaded; "" for a full model."""
    if not inputs.adapter_bytes:
        return ""
    name, digest = markdown(inputs.training.base_model.name), inputs.training.base_model.digest
    return f"""
The bot is a [LoRA adapter](https://huggingface.co/docs/peft) of {name}. Where there is an `adapter_model.safetensors` beside this file,
and not the weights of a whole model, the same needs the package peft, and the base model (digest {code(digest)}) in the folder that
`adapter_config.json` names as `base_model_name_or_path`. In the hands of peft itself:

```python
from peft import AutoPeftModelForCausalLM

model = AutoPeftModelForCausalLM.from_pretrained(".")
```
"""


def limits(inputs: CardInputs) -> str:
    """Return the section on limits and bias."""
    return f"""\
## Limits and bias

- It imitates a style of writing. It knows no facts, and its claims about people, places or events are invented.
- It has the limits and bias of its base model{_base_page(inputs)}, and those of its author's posts, which shape its texts: it can be
  rude, unfair or wrong.{_swears(inputs)}
- It was trained on few posts, so it can repeat a post, or a part of one, verbatim.{_remembers(inputs)}
- It writes in the languages of its author's posts, as well as its base model knows them; most base models know English best.
- Do not present its texts as the words of a person, and do not use it for decisions about people."""


def removal(inputs: CardInputs) -> str:
    """Return the section on removing a person's posts."""
    return """\
## How to have it removed

If these are your posts and you do not want this bot, ask the person who made it to remove it. One command does that,
`mynah forget @HANDLE`: it deletes the posts, the weights, this card and every record of them from every store, blocks your posts from
being fetched again, and writes a signed receipt that you can ask for. It cannot delete copies that others made."""


def about(inputs: CardInputs) -> str:
    """Return the section on Mynah."""
    return """\
## About

Made with Mynah, the successor of [huggingtweets](https://github.com/borisdayma/huggingtweets) by Boris Dayma, whose card format
this card follows. To make a bot of your own posts: `mynah run --name NAME --from EXPORT`."""


def _base_page(inputs: CardInputs) -> str:
    hub = hub_name(inputs.training.base_model)
    return f", [{markdown(hub)}](https://huggingface.co/{hub})" if hub else ""


def _swears(inputs: CardInputs) -> str:
    share, author_share = inputs.metrics.get("profanity_share"), inputs.metrics.get("author_profanity_share")
    if share is None or author_share is None:
        return ""
    return f"\n  A profane word occurs in {_percent(share)} of its samples and in {_percent(author_share)} of the posts."


def _remembers(inputs: CardInputs) -> str:
    copied, leaked = inputs.metrics.get("memorised_share"), inputs.metrics.get("leaked_share")
    if copied is None:
        return ""
    also = f", and {_percent(leaked)} contain personal data from one" if leaked is not None else ""
    return f"\n  Of its samples, {_percent(copied)} repeat a long part of a post{also}."


def _percent(share: float) -> str:
    return f"{number(100 * share)} %"
