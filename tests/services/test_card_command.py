"""`mynah card` of registered bots, on a real store: listing samples, showing another one, and what is refused."""

import hashlib
import json
import re
import shlex
import shutil
import uuid
from pathlib import Path

import httpx
import pytest
from registry_inputs import add_version, make_outputs, register_all

from components.card.choose_sample import choose, stored_card
from components.card.inputs import RunRecord
from components.card.preview import read_preview
from components.card.run_record import read_record
from components.card.step import card
from mynah.mlflow_client.store import BOT_TAG
from mynah.registry.registry import Registry
from mynah.storage.manifest import MANIFEST_FILE
from mynah.tracking.open import open_store
from mynah.tracking.runs import end_run, start_parent
from mynah.tracking.step_run import step_run
from tests.code.card_inputs import CardInputFiles


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_checkpoint):
    """A work folder with the champion wren, registered with its card, and heron, registered in older days without one."""
    root = tmp_path_factory.mktemp("card")
    register_all({"wren": with_card(root, tiny_checkpoint)}, root / "work")
    store = open_store(root / "work")
    api = Registry(store).client
    api.create_registered_model("heron", tags={BOT_TAG: "heron"})
    api.create_model_version("heron", api.get_model_version_download_uri("wren", "1"), start_parent(store, "heron", {}))
    return root / "work"


def with_card(root: Path, checkpoint: Path) -> Path:
    """The folders that `register` takes, with a real card."""
    outputs = make_outputs(root / "outputs", checkpoint)
    shutil.rmtree(outputs / "card")
    card("wren", *CardInputFiles().write(root / "inputs"), outputs / "card")
    return outputs


@pytest.fixture
def workdir(made, tmp_path):
    """A copy for one test alone."""
    shutil.copytree(made, tmp_path / "work")
    return tmp_path / "work"


def test_the_samples_of_a_bot_are_listed(made, mynah):
    code, out, err = mynah("card", "wren", "--workdir", made)
    assert (code, err) == (0, "")
    assert out.splitlines()[1] == "   2  My dream is to sing number 2."
    assert "of version 1" in out
    record = json.loads(mynah("card", "--name", "wren", "--json", "--workdir", made).stdout)
    assert record["samples"] == [f"My dream is to sing number {place}." for place in range(1, 6)]
    assert (record["name"], record["version"], record["prompt"]) == ("wren", 1, "My dream is")
    assert not (made / "cards").exists()


def test_another_sample_is_shown_and_the_version_stays_as_it_was(made, mynah):
    before = digests(made)
    code, out, _ = mynah("card", "wren", "--choose", "4", "--url", "https://a.example/wren/", "--workdir", made)
    assert code == 0
    folder = made / "cards" / "wren"
    assert out.split() == [str(folder / name) for name in ("README.md", "predictions.png", "predictions.html")]
    page = (folder / "predictions.html").read_text()
    assert "<b>My dream is</b> to sing number 4." in page
    assert 'property="og:image" content="https://a.example/wren/predictions.png"' in page
    assert "thumbnail: https://a.example/wren/predictions.png" in (folder / "README.md").read_text()
    assert digests(made) == before

    again = json.loads(mynah("card", "wren", "--choose", "2", "--out", made / "other", "--json", "--workdir", made).stdout)
    assert (again["chosen"], again["page"]) == (2, str(made / "other" / "predictions.html"))
    kept = stored_card(open_store(made), "wren")
    for name in ("card.json", "predictions.png", "predictions.html", "README.md"):
        assert kept.files.same(name, made / "other" / name)  # the next who looks sees it too
    assert read_preview(made / "other").url == "https://a.example/wren/"  # as it was told before
    assert (made / "other" / "predictions.png").read_bytes() != (folder / "predictions.png").read_bytes()


def test_the_card_that_the_run_printed_changes_too(workdir, mynah):
    store = open_store(workdir)
    registry, kept = Registry(store), stored_card(store, "wren")
    assert kept.printed is None
    run = registry.client.get_run(registry.bot("wren").champion.run_id)
    registry.client.set_tag(run.data.tags["mlflow.parentRunId"], "mynah.folder", "20260101-000000-wren")
    printed = workdir / "runs" / "20260101-000000-wren" / "card"
    shutil.copytree(kept.files.folder, printed)
    (workdir / "runs" / "20260102-000000-heron").mkdir()
    assert mynah("card", "wren", "--choose", "5", "--workdir", workdir).returncode == 0
    for name in ("card.json", "predictions.png", "predictions.html"):
        assert (printed / name).read_bytes() == (workdir / "cards" / "wren" / name).read_bytes()
    assert read_preview(printed).chosen == 5
    shutil.move(printed, workdir.parent / "elsewhere")
    printed.symlink_to(workdir.parent / "elsewhere")  # a place outside of the work folder
    assert mynah("card", "wren", "--choose", "1", "--workdir", workdir).returncode == 0
    assert read_preview(workdir.parent / "elsewhere").chosen == 5


def digests(workdir: Path) -> dict[str, str]:
    """The files of the registered version."""
    registry = Registry(open_store(workdir))
    folder = Path(registry.files(registry.bot("wren").versions[0]).uri)
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    card = ("README.md", "predictions.png", "predictions.html", "pipeline.png", "funnel.png")
    assert {*(f"model/{name}" for name in card), MANIFEST_FILE} <= set(found)
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items()}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("wren", "--choose", "6"), "there is no sample 6: the card has 5"),
        (("wrem", "--choose", "1"), "Did you mean 'wren'?"),
        (("wren", "--choose", "1", "--version", "7"), "wren has no version 7"),
        (("heron", "--choose", "1"), "version 1 of heron has no card to choose from"),
        (("heron",), "mynah card --name heron MODEL DATA REPORT --out CARD --choose K"),
        (("wren", "--url", "not an address"), "is not a valid address for a card"),
        ((), "was given 0 words"),
        (("wren", "a", "b", "c"), "needs --out"),
        (("../wren",), "bot's name"),
    ],
)
def test_what_cannot_be_shown_is_refused(made, mynah, tmp_path, arguments, told):
    out = ("--out", tmp_path / "out") if "a" not in arguments else ()
    code, stdout, stderr = mynah("card", *arguments, *out, "--workdir", made)
    assert (code, stdout) == (2, "")
    assert told in stderr
    assert not (tmp_path / "out").exists()


def test_a_card_from_folders_takes_a_choice_too(mynah, tmp_path):
    folders = CardInputFiles().write(tmp_path)
    for words in (("wren", *folders), ("--name", "wren", *folders)):
        code, out, _ = mynah("card", *words, "--out", tmp_path / "out", "--choose", "3")
        assert (code, out.split()[0]) == (0, str(tmp_path / "out" / "README.md"))
        assert read_preview(tmp_path / "out").chosen == 3


def test_the_newest_version_is_shown_where_none_is_champion(workdir):
    store = open_store(workdir)
    add_version(workdir, 3.0)
    assert stored_card(store, "wren").version == 1
    Registry(store).client.delete_registered_model_alias("wren", "champion")
    assert stored_card(store, "wren").version == 2
    Registry(store).client.delete_run(Registry(store).bot("wren").versions[0].run_id)  # what MLflow's page can do
    assert choose(stored_card(store, "wren"), 5, workdir / "out").chosen == 5


def test_a_card_in_the_work_folder_is_forgotten_with_its_bot(workdir, mynah):
    assert mynah("card", "wren", "--choose", "4", "--workdir", workdir).returncode == 0
    (workdir / "cards" / "heron").mkdir()
    listed = mynah("forget", "wren", "--dry-run", "--json", "--workdir", workdir).stdout
    assert str(workdir / "cards" / "wren" / "avatar-1.png") not in listed
    assert str(workdir / "cards" / "wren" / "predictions.png") in listed
    assert str(workdir / "cards" / "heron") not in listed
    of_author = mynah("forget", "@ann", "--dry-run", "--json", "--workdir", workdir).stdout
    assert str(workdir / "cards" / "wren" / "predictions.png") in of_author


def test_the_card_knows_its_run_its_cost_and_its_energy(workdir, monkeypatch):
    store = open_store(workdir)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.tracking_uri)
    monkeypatch.setenv("MYNAH_NODE_KIND", "gpu")
    run = start_parent(store, "wren", {})
    with step_run("filter", store, run) as step:
        pass
    for tag, value in (("mynah.seconds", "3600"), ("mynah.cost_usd", "0.8")):
        Registry(store).client.set_tag(step.run_id, tag, value)
    found = read_record(run)
    assert (found.run, found.pages) == (run, {})  # a laptop's page is only sometimes open
    assert found.cost_usd == 0.8
    assert (found.energy.watt_hours, found.energy.nodes) == (110.0, (("gpu", 110.0),))
    monkeypatch.setenv("MYNAH_MLFLOW_URL", "https://ann:pw@m.example/mlflow/")
    pages = read_record(run).pages
    assert re.fullmatch(rf"https://m\.example/mlflow/#/experiments/\d+/runs/{run}", pages[""])
    assert pages["filter"].startswith("https://m.example/mlflow/#/experiments/")
    monkeypatch.setenv("MYNAH_MLFLOW_URL", "https://m.example/)[x](")
    assert read_record(run).pages == {}
    end_run(store, run, "FINISHED")
    assert Registry(store).client.get_run(run).data.tags["mynah.energy_wh"] == "110.0000"
    assert read_record("") == RunRecord()


def test_a_sample_is_chosen_on_a_server_that_keeps_its_files_in_s3(on_server, tmp_path, tiny_checkpoint, mynah):
    name = f"wren-{uuid.uuid4().hex[:8]}"  # the server is shared
    register_all({name: with_card(tmp_path, tiny_checkpoint)}, tmp_path / "work")
    code, _, err = mynah("card", name, "--choose", "4", "--workdir", tmp_path / "work")
    assert (code, err) == (0, "")
    kept = stored_card(open_store(tmp_path / "other"), name)
    assert kept.files.uri.startswith("s3://")
    assert kept.files.same("predictions.png", tmp_path / "work" / "cards" / name / "predictions.png")
    assert kept.files.same("card.json", tmp_path / "work" / "cards" / name / "card.json")


def test_the_request_in_the_card_is_one_that_the_server_answers(server, tmp_path):
    card("wren", *CardInputFiles().write(tmp_path), tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    [request] = re.findall("```bash\n(curl .*?)\n```", text, re.DOTALL)
    _, url, _, header, _, body = shlex.split(request.replace("\\\n", ""))
    name, value = header.split(": ")
    asked = url.replace("http://localhost:8080", server.url)
    answer = httpx.post(asked, content=body, headers={name: value}, timeout=60)
    assert answer.status_code == 200, answer.text
    texts = answer.json()["outputs"][0]["data"]
    assert len(texts) == 5
    assert all(text.startswith("My dream is") for text in texts)
