"""The addresses of a cluster run's files, and the specification that lies there."""

import json

import pytest

from components.handover import home_of, is_remote
from components.run_inputs import RunInputs, read_inputs
from mynah.core.errors import InputError, PlatformError
from mynah.storage.run_files import RunFiles, new_id, parse

FILES = RunFiles("bucket", "0123456789abcdef")
SPEC = f"{FILES.spec}#sha256={'0' * 64}"
TEXTS = [
    "{{workflow.name}}",
    "{{=1+1}}",
    "$(AWS_SECRET_ACCESS_KEY)",
    'it\'s "quoted"\r\n\u2028',
    "🐦 \U0001f9a4",
    "{{$.inputs}}",
    "\udcff",
]


def test_addresses_are_made_and_parsed():
    assert FILES.prefix == "runs/0123456789abcdef"
    assert FILES.spec == "s3://bucket/runs/0123456789abcdef/spec.json"
    assert FILES.of("kfp") == "s3://bucket/runs/0123456789abcdef/kfp"
    for address in (FILES.uri, FILES.spec, SPEC, FILES.uploads, f"{FILES.of('kfp')}/data#sha256={'1' * 64}"):
        assert parse(address) == FILES
    for other in ("", "sample", "s3://bucket/exports/a.zip", "s3://bucket/runs/wren/spec.json", FILES.uri + "0", "/home/runs/x"):
        assert parse(other) is None


def test_ids_tell_nothing_and_never_repeat():
    found = {new_id() for _ in range(1000)}
    assert len(found) == 1000
    assert all(parse(RunFiles("b", each).spec) for each in found)


def test_where_a_step_finds_the_runs_files():
    assert home_of(SPEC, "kfp-run") == FILES.of("kfp-run")
    assert home_of("/home/ann/runs/it's #sha256=me/run.json", "") == "/home/ann/runs/it's #sha256=me"
    assert not is_remote("/home/ann/runs/run.json")
    for foreign in (FILES.spec, "s3://bucket/elsewhere/spec.json#sha256=" + "0" * 64):
        with pytest.raises(PlatformError, match="refers to no run's specification"):
            home_of(foreign, "kfp-run")


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_survives_in_the_specification(tmp_path, text):
    inputs = RunInputs(
        text, [text], text, recipe={"preset": "default", "changes": {"weights": {text: 1.0}}}, columns={"text": text}
    )
    assert read_inputs(inputs.write(tmp_path / "run.json")) == inputs


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nmae": "wren"}, "has the unknown field 'nmae'"), ({"name": None}, "has at 'name' what is not a text"),
        ({"sources": "sample"}, "'sources' what is not a list of texts"), ({"sources": [1]}, "'sources' what is not a list of texts"),
        ({"limit": True}, "'limit' what is not a whole number"), ({"limit": 1.5}, "'limit' what is not a whole number"),
        ({"budget": "1"}, "'budget' what is not a finite number"), ({"budget": float("inf")}, "'budget' what is not a finite number"),
        ({"only_news": 1}, "'only_news' what is not true or false"), ({"columns": {"text": 1}}, "'columns' what is not texts by name"),
        ({"recipe": []}, "'recipe' what is not an object"),
    ],
)  # fmt: skip
def test_a_specification_of_another_shape_is_refused_with_its_field(tmp_path, change, said):
    path = tmp_path / "run.json"
    record = json.loads(RunInputs("wren", ["sample"], "fledgling").to_bytes())
    path.write_text(json.dumps({**record, **change}))
    with pytest.raises(InputError, match=said):
        read_inputs(str(path))


def test_a_specification_that_is_none_is_refused(tmp_path):
    path = tmp_path / "run.json"
    record = json.loads(RunInputs("wren", ["sample"], "fledgling").to_bytes())
    del record["sources"]
    nothing = [("[]", "is no object"), ("{", "is not JSON"), ("[" * 100_000, "is not JSON")]
    for text, said in (*nothing, (json.dumps(record), "has no field 'sources'")):
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            read_inputs(str(path))
    with pytest.raises(InputError, match="cannot be read"):
        read_inputs(str(tmp_path / "none.json"))
