"""What the base model's licence asks of `mynah publish`."""

import pytest
from huggingface_hub import ModelCard
from publish_inputs import refused, tag, version

from mynah.models.catalogue import licenses

LICENSE, BASE = "mynah.base_license", "mynah.base_model"
NOTICE = "Llama 3.2 is licensed under the Llama 3.2 Community License, Copyright © Meta Platforms, Inc. All Rights Reserved."


def files(hub, name="ann/wren"):
    return {file: data.decode("utf-8", "replace") for file, data in hub.repositories[name].files.items()}


def test_a_permissive_licence_goes_along(publish, hub, workdir):
    assert version(workdir).tags[LICENSE] == "apache-2.0"  # registered with it
    assert publish().returncode == 0
    found = files(hub)
    assert found["BASE_LICENSE.txt"] == licenses()["apache-2.0"].copy.decode()
    assert "modified version of fledgling: they were fine-tuned on posts with Mynah" in found["NOTICE.txt"]
    assert "the Apache License 2.0: https://www.apache.org/licenses/LICENSE-2.0" in found["NOTICE.txt"]
    card = ModelCard(found["README.md"])
    assert (card.data["license"], card.data["base_model_license"]) == ("other", "apache-2.0")  # of the base model's part alone
    assert card.text.count("\n## Licence\n") == 1


def test_gpt2s_licence_wants_openais_line(publish, hub, workdir):
    tag(workdir, BASE, "gpt2")
    tag(workdir, LICENSE, "modified-mit-gpt2")
    assert publish().returncode == 0
    assert files(hub)["NOTICE.txt"].startswith("GPT-2: Software Copyright (c) 2019 OpenAI\n")
    assert files(hub)["BASE_LICENSE.txt"].startswith("Modified MIT License\n")


def test_llama_wants_its_name_its_words_and_its_text(publish, hub, workdir, tmp_path):
    tag(workdir, BASE, "meta-llama/Llama-3.2-1B")
    tag(workdir, LICENSE, "llama3.2")
    refused(publish(), 4, "begins with 'Llama', and this one is 'wren'", "--to hub:ann/Llama-wren")
    refused(
        publish(to="hub:ann/Llama-wren"), 4, "wants a copy of it", "https://www.llama.com/llama3_2/license/", "--license-text"
    )
    refused(publish("--license-text", tmp_path / "none", to="hub:ann/Llama-wren"), 2, "is no file with a licence's text")
    assert not hub.repositories
    (tmp_path / "license.txt").write_text("LLAMA 3.2 COMMUNITY LICENSE AGREEMENT\n…")
    done = publish("--license-text", tmp_path / "license.txt", to="hub:ann/Llama-wren")
    assert done.returncode == 0, done
    found = files(hub, "ann/Llama-wren")
    assert found["BASE_LICENSE.txt"].startswith("LLAMA 3.2 COMMUNITY LICENSE AGREEMENT")
    assert NOTICE in found["NOTICE.txt"]
    card = ModelCard(found["README.md"])
    assert (card.data["license"], card.data["base_model_license"]) == ("llama3.2", "llama3.2")
    assert "**Built with Llama**" in card.text
    assert "Copyright © Meta Platforms" in card.text


def test_gemma_passes_its_restrictions_on(publish, hub, workdir, tmp_path):
    tag(workdir, LICENSE, "gemma")
    (tmp_path / "terms.txt").write_text("Gemma Terms of Use …")
    assert publish("--license-text", tmp_path / "terms.txt").returncode == 0
    found = files(hub)
    assert found["NOTICE.txt"].startswith(
        "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms\n"
    )
    assert ModelCard(found["README.md"]).data["license"] == "gemma"
    assert "https://ai.google.dev/gemma/prohibited_use_policy" in found["README.md"]


@pytest.mark.parametrize("license_id", ["cc-by-nd-4.0", "cc-by-nc-nd-4.0"])
def test_a_licence_without_derivatives_forbids_it(publish, hub, workdir, license_id):
    tag(workdir, LICENSE, license_id)
    refused(publish(), 4, "forbids sharing models made from it", "mynah bases")
    assert not hub.requests


@pytest.mark.parametrize("recorded", ["unknown", "other", ""])
def test_an_unknown_licence_must_be_named(publish, hub, workdir, recorded):
    tag(workdir, BASE, "org/nightjar")
    tag(workdir, LICENSE, recorded)
    refused(publish(), 4, "the licence of its base model, org/nightjar, is not known", "--license apache-2.0")
    refused(publish("--license", "a b"), 2, "'a b' is not a licence's id")
    refused(publish("--license", "cc-by-nd-4.0"), 4, "forbids")
    assert not hub.repositories
    assert publish("--license", "openrail").returncode == 0  # not one whose terms are known: the person has read it
    assert version(workdir).tags[LICENSE] == "openrail"
    assert "The base model is under openrail" in files(hub)["NOTICE.txt"]
    assert ModelCard(files(hub)["README.md"]).data["base_model_license"] == "openrail"
    assert publish().returncode == 0  # it is recorded now
    assert files(hub)["README.md"].count("\n## Licence\n") == 1


def test_a_licence_that_is_recorded_cannot_be_talked_away(publish, hub, workdir):
    tag(workdir, LICENSE, "llama3.2")
    refused(publish("--license", "mit"), 2, "is under llama3.2, not mit", "Leave out --license.")
    assert not hub.requests


def test_an_earlier_version_of_mynah_noted_none(publish, hub, workdir):
    tag(workdir, LICENSE, "")
    assert publish().returncode == 0  # of fledgling
    assert "Apache License 2.0" in files(hub)["NOTICE.txt"]
