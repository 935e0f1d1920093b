"""Requests to an engine of the test's own."""

import asyncio
from dataclasses import replace

from mynah.decoding.request import GenerationRequest
from mynah.models.sampling import Sampling
from serving.engine.engine import Engine

PROMPTS = ["My dream is", "", "We hold these truths to be self-evident, that all", "I like", "The birds sing in the morning and"]


def run(model, work, **options):
    """`await work(engine)` on an engine of its own, with `ask(prompts, **sampling)` bound to the model."""

    async def main():
        engine = Engine(**options)
        engine.start()
        try:
            return await work(engine)
        finally:
            await engine.close(5)

    return asyncio.run(main())


def with_body(model, **changes):
    """The bot with a body of its own, in which these attributes are others."""
    return replace(model, body=replace(model.body, **changes))


def ask(*prompts, stop=(), penalty=1.0, logprobs=None, **sampling):
    return GenerationRequest(tuple(prompts), Sampling(**{"min_tokens": 0, **sampling}), tuple(stop), penalty, logprobs)


def texts(answers):
    return [[answer.text for answer in several] for several in answers]


def ids_of(model, prompts):
    return [[model.end, *model.encode(prompt)] for prompt in prompts]


def greedy(model, prompt, **options):
    tokens = options.pop("max_tokens", 30)
    question = ask(prompt, top_k=1, max_tokens=tokens, **options)
    return run(model, lambda engine: engine.submit(model, question).answers(), allow_verbatim=True)[0][0]
