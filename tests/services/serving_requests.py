"""Requests to bots of a server, and refusals as v1 and v2 give them."""

V1 = "/v1/models/wren:predict"
V2 = "/v2/models/wren/infer"


def v2_body(*prompts, **parameters):
    tensor = {"name": "prompt", "datatype": "BYTES", "shape": [len(prompts)], "data": list(prompts)}
    return {"inputs": [tensor], "parameters": parameters}


def assert_refused(answer, status, *words):
    """A refusal is JSON with one field, names the problem, and shows nothing of the inside."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error"}
    for word in words:
        assert word in body["error"]
    for leak in ("Traceback", "site-packages", ".py", "kserve", "/tmp", "/home"):
        assert leak not in answer.text
