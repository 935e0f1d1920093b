"""What an OpenAPI document cannot say: requests that are to be valid ask a bot that there is, and their fields fit together."""

import schemathesis
from schemathesis import GenerationMode

USER = {"role": "user", "content": "I"}


@schemathesis.hook
def map_case(context, case):
    """Mend a valid case; the invalid ones stay as they are, but that no time is too short to answer in."""
    if shortest(case.headers or {}):
        case.headers["X-Request-Timeout"] = "60"
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE or case.operation.method.upper() != "POST":
        return case
    if "model_name" in (case.path_parameters or {}):
        case.path_parameters["model_name"] = "crane"
    if isinstance(case.body, dict):
        mend(case.body)
    return case


def shortest(headers):
    try:
        return float(headers.get("X-Request-Timeout", "none")) > 0
    except ValueError:
        return False


def mend(body):
    """Few texts, a minimum below the maximum, and the shape that the data has."""
    parameters = body.get("parameters") if "parameters" in body else body
    if "model" in body:
        body["model"] = "crane"
        body.pop("best_of", None)
        if not body.get("stream"):
            body.pop("stream_options", None)
        if body.get("logprobs") is not None:
            body.pop("echo", None)
    if "messages" in body:
        others = [message for message in body["messages"] if message != USER]  # a case may come here again
        body["messages"] = [*others, USER]
        body.pop("max_completion_tokens", None)
        if not body.get("logprobs"):
            body.pop("top_logprobs", None)
    if isinstance(parameters, dict):
        for name, value in parameters.items():
            if isinstance(value, float) and value.is_integer():
                parameters[name] = int(value)  # to JSON Schema 2.0 is whole, to Python it is not
        if isinstance(parameters.get("n"), int):
            parameters["n"] = 1
        for name, most in (("max_tokens", 40), ("min_tokens", 10)):
            if isinstance(parameters.get(name), int):
                parameters[name] = max(1, min(most, parameters[name]))
        if parameters.get("min_tokens") and parameters.get("max_tokens"):
            parameters["max_tokens"] = max(parameters["min_tokens"], parameters["max_tokens"])
    for tensor in body.get("inputs") or ():
        is_nested = any(isinstance(row, list) for row in tensor["data"])
        tensor["shape"] = [len(tensor["data"]), 1] if is_nested else [len(tensor["data"])]
