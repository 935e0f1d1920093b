"""Fine-tuning: the loop learns, repeats itself for a seed, and leaves a checkpoint that anybody's tools load."""

import json
import re
import shutil
import stat

import pytest
import torch

from components.finetune.learning_rate import learning_rate_factor
from components.finetune.settings import FinetuneSettings
from components.finetune.step import finetune
from mynah.core.errors import InputError, MynahError, PlatformError
from mynah.core.files import digest
from mynah.models import checkpoint
from mynah.models.sampling import Sampling, encode
from mynah.models.scoring import pad, score, summed_loss
from mynah.training.recipe import Recipe, build
from mynah.training.training_record import TrainingRecord

FAST = build("default", {"epochs": 2, "learning_rate": 5e-3, "batch_tokens": 256})


@pytest.fixture(scope="module")
def loaded(tiny_checkpoint):
    return checkpoint.load(tiny_checkpoint)


@pytest.fixture(scope="module")
def trained(tiny_checkpoint, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "model"
    return finetune(data, out, FinetuneSettings(str(tiny_checkpoint), FAST)), out


def test_held_out_loss_falls_and_the_record_says_so(trained):
    record, out = trained
    losses = [epoch.held_out_loss for epoch in record.history]
    assert losses[-1] < losses[0] - 1
    assert record.best_epoch == losses.index(min(losses))
    assert TrainingRecord.read(out) == record
    assert json.loads((out / "training.json").read_text()) == json.loads(json.dumps(record.to_record()))
    assert record.recipe["seed"] == 42
    assert record.recipe["block"] == 64  # the model's context, which is less than a block's 128
    steps = [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]
    assert [line["step"] for line in steps if "train_loss" in line] == list(range(1, record.steps + 1))
    assert [line["held_out_loss"] for line in steps if "held_out_loss" in line] == losses


def test_the_base_models_licence_goes_along(tiny_checkpoint, data, tmp_path):
    base = shutil.copytree(tiny_checkpoint, tmp_path / "wren")
    (base / "README.md").write_text("---\nlicense: cc-by-sa-4.0\n---\n")
    (base / "LICENSE").write_text("share alike")
    (base / "NOTICE").write_text("made by wrens")
    once = build("default", {"epochs": 1, "batch_tokens": 2048})
    record = finetune(data, tmp_path / "one", FinetuneSettings(str(base), once))
    assert (record.base_model.license, record.base_model.family) == ("cc-by-sa-4.0", "gpt2")
    assert TrainingRecord.read(tmp_path / "one").base_model == record.base_model
    again = finetune(data, tmp_path / "two", FinetuneSettings(str(tmp_path / "one"), once))  # from that model
    assert again.base_model.license == "cc-by-sa-4.0"
    for out in ("one", "two"):
        assert (tmp_path / out / "BASE_LICENSE.txt").read_text() == "share alike"
        assert (tmp_path / out / "BASE_NOTICE.txt").read_text() == "made by wrens"


def test_a_record_of_an_earlier_version_opens(trained, tmp_path):
    record = trained[0].to_record()
    for base, license_id in (
        ({"name": "gpt2", "digest": "0", "revision": "ab"}, "modified-mit-gpt2"),
        ({"name": "gpt2", "digest": "0", "revision": ""}, "unknown"),  # a folder of that name
        ({"name": "fledgling", "digest": "0", "revision": ""}, "apache-2.0"),
        ({"name": "gpt2", "digest": "0"}, "modified-mit-gpt2"),
    ):
        (tmp_path / "training.json").write_text(json.dumps(record | {"base_model": base}))
        read = TrainingRecord.read(tmp_path)
        assert (read.base_model.known_license, read.base_model.family) == (license_id, "gpt2")
        assert read.to_record()["base_model"] == {"revision": None, **base}


def test_the_checkpoint_kept_is_the_best_epochs(trained, data):
    record, out = trained
    from mynah.data.datasets import read_texts

    again = score(checkpoint.load(out), read_texts(data, "held_out")).loss
    assert again == pytest.approx(min(epoch.held_out_loss for epoch in record.history), abs=1e-5)


def test_same_seed_same_weights_and_another_seed_others(trained, tiny_checkpoint, data, tmp_path):
    _, out = trained
    finetune(data, tmp_path / "same", FinetuneSettings(str(tiny_checkpoint), FAST))
    finetune(data, tmp_path / "other", FinetuneSettings(str(tiny_checkpoint), build("default", FAST.to_record() | {"seed": 7})))
    assert digest(tmp_path / "same" / "model.safetensors") == digest(out / "model.safetensors")
    assert digest(tmp_path / "other" / "model.safetensors") != digest(out / "model.safetensors")


def test_out_of_time_it_keeps_what_it_has(trained, tiny_checkpoint, data, tmp_path, capsys):
    whole, out = trained
    late = finetune(data, tmp_path / "late", FinetuneSettings(str(tiny_checkpoint), FAST, seconds=0.0))
    assert (late.steps, late.out_of_time, len(late.history)) == (1, True, 2)
    assert "was reached at step 1" in capsys.readouterr().err
    assert checkpoint.load(tmp_path / "late").context == 64
    in_time = finetune(data, tmp_path / "in-time", FinetuneSettings(str(tiny_checkpoint), FAST, seconds=3600.0))
    assert (in_time.out_of_time, whole.out_of_time) == (False, False)
    assert digest(tmp_path / "in-time" / "model.safetensors") == digest(out / "model.safetensors")


def test_the_originals_recipe_runs(tiny_checkpoint, data, tmp_path):
    record = finetune(data, tmp_path / "model", FinetuneSettings(str(tiny_checkpoint), build("huggingtweets", {"epochs": 1})))
    assert record.precision == "fp32"
    assert record.history[1].held_out_loss < record.history[0].held_out_loss
    loaded = checkpoint.load(tmp_path / "model")
    assert loaded.context == 64
    # 1,024 tokens a step, in blocks of the context of which each predicts all but its first; the remainder is left out
    assert record.tokens % 63 == 0
    assert record.steps == round(record.tokens / 63 * 64 / 1024)


def test_the_checkpoint_is_whole_plain_and_readable(trained):
    _, out = trained
    names = {path.name for path in out.iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "training.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]
    assert all(stat.S_IMODE((out / name).stat().st_mode) & 0o044 == 0o044 for name in names)
    generation = json.loads((out / "generation_config.json").read_text())
    expected = {"do_sample": True, "top_p": 0.95, "temperature": 1.0, "min_new_tokens": 10, "max_new_tokens": 160}
    assert {key: generation[key] for key in expected} == expected


def test_a_bare_pipeline_writes_posts_from_it(long_checkpoint, data, tmp_path):
    from transformers import pipeline

    finetune(data, tmp_path / "model", FinetuneSettings(str(long_checkpoint), FAST))
    generator = pipeline("text-generation", model=str(tmp_path / "model"))
    seen = []
    generator.model.register_forward_pre_hook(lambda _model, _args, given: seen.append(given["input_ids"]), with_kwargs=True)
    torch.manual_seed(0)
    answers = [answer["generated_text"] for answer in generator("The bird", num_return_sequences=20)]
    loaded = checkpoint.load(tmp_path / "model")
    # Each prompt starts where a post starts, and the answer does not show it.
    assert seen[0][0].tolist() == [loaded.end, *encode(loaded, "The bird")]
    assert all(answer.startswith("The bird") for answer in answers)
    assert len(set(answers)) == 20  # it samples
    assert 10 <= len(seen) <= 160
    lengths = [len(encode(loaded, answer.removeprefix("The bird"))) for answer in answers]
    assert min(lengths) >= 9  # ten new tokens, of which the decoded text may merge some


def test_a_bare_pipeline_keeps_to_its_limits(long_checkpoint, data, tmp_path):
    """A base model that never ends a post: the answer stops at 160 new tokens; one that always ends: it goes on to 10."""
    from safetensors.torch import load_file, save_file
    from transformers import pipeline

    finetune(
        data, tmp_path / "model", FinetuneSettings(str(long_checkpoint), build("default", {"epochs": 1, "learning_rate": 1e-6}))
    )
    counts = []
    for sign in (-1, 1):
        weights = load_file(tmp_path / "model" / "model.safetensors")
        weights["transformer.ln_f.bias"][:] = sign * weights["transformer.wte.weight"][0] * 1000
        save_file(weights, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
        generator = pipeline("text-generation", model=str(tmp_path / "model"))
        seen = []
        generator.model.register_forward_pre_hook(lambda _model, _args, given, seen=seen: seen.append(1), with_kwargs=True)
        generator("The bird")
        counts.append(len(seen))
    assert counts == [160, 11]  # the eleventh is the end token


def test_an_end_token_in_a_post_is_plain_text(loaded):
    ids = encode(loaded, "before <|endoftext|> after")
    assert loaded.end not in ids
    assert loaded.tokenizer.decode(ids) == "before <|endoftext|> after"


def test_an_exploding_loss_stops_with_the_step_and_the_rate(tiny_checkpoint, data, tmp_path):
    # Decoupled decay times the rate: each step multiplies the weights by 1 - 10.
    wild = {"learning_rate": 1.0, "weight_decay": 10.0, "warmup": 0.0, "schedule": "constant", "patience": 0}
    few = tmp_path / "few"
    few.mkdir()
    for part in ("train", "held_out"):
        lines = (data / f"{part}.jsonl").read_text().splitlines(keepends=True)
        (few / f"{part}.jsonl").write_text("".join(lines[:20]))
    said = r"the loss (diverges: [\d,.]+|is no longer a number) at step \d+ \(learning rate 1\)"
    with pytest.raises(MynahError, match=said) as caught:
        finetune(few, tmp_path / "model", FinetuneSettings(str(tiny_checkpoint), build("default", {**wild, "epochs": 50})))
    last = int(re.findall(r"step (\d+)", str(caught.value))[0])
    # When the update that breaks the weights is the very last one, only the held-out loss shows it.
    with pytest.raises(MynahError, match=f"at step {last} "):
        finetune(few, tmp_path / "model", FinetuneSettings(str(tiny_checkpoint), build("default", {**wild, "epochs": last})))
    assert list(tmp_path.iterdir()) == [few]


def test_a_base_model_that_gives_no_number_is_refused_before_training(tiny_checkpoint, data, tmp_path):
    broken = FinetuneSettings(str(_broken(tiny_checkpoint, tmp_path)), FAST)
    with pytest.raises(InputError, match="before any training: its weights are broken"):
        finetune(data, tmp_path / "model", broken, lambda *_: pytest.fail("it trained"))
    assert not (tmp_path / "model").exists()


def _broken(tiny_checkpoint, tmp_path):
    """The checkpoint with one weight so large that its products overflow fp32."""
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "broken"
    shutil.copytree(tiny_checkpoint, folder)
    weights = load_file(folder / "model.safetensors")
    weights["transformer.h.0.mlp.c_fc.weight"][:] = 3e38
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_an_interrupt_in_the_middle_leaves_nothing(tiny_checkpoint, data, tmp_path):
    def interrupt(step, _metrics):
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(data, tmp_path / "out" / "model", FinetuneSettings(str(tiny_checkpoint), FAST), interrupt)
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_too_little_space_is_known_before_the_first_step(tiny_checkpoint, data, small_disk):
    disk = small_disk(64)
    with pytest.raises(PlatformError, match="writing the fine-tuned model needs about"):
        finetune(data, disk / "model", FinetuneSettings(str(tiny_checkpoint), FAST), lambda *_: pytest.fail("it trained"))
    assert list(disk.iterdir()) == []


def test_a_disk_that_fills_while_the_model_is_written(tiny_checkpoint, data, small_disk):
    best_weights = (
        tiny_checkpoint / "model.safetensors"
    ).stat().st_size // 1000  # kilobytes that they have on the disk meanwhile
    disk = small_disk(700 + best_weights)

    def fill(step, _metrics):
        if step == 1:
            (disk / "ballast").write_bytes(b"x" * 680_000)

    with pytest.raises(PlatformError, match="no space left"):
        finetune(data, disk / "model", FinetuneSettings(str(tiny_checkpoint), FAST), fill)
    assert [path.name for path in disk.iterdir()] == ["ballast"]


@pytest.mark.parametrize("what", ["empty", "no text"])
def test_data_that_is_no_data(tiny_checkpoint, data, tmp_path, what):
    import shutil

    shutil.copytree(data, tmp_path / "data")
    (tmp_path / "data" / "held_out.jsonl").write_text("" if what == "empty" else '{"id": "1"}\n')
    with pytest.raises(InputError, match=r"held_out\.jsonl has no texts"):
        finetune(tmp_path / "data", tmp_path / "model", FinetuneSettings(str(tiny_checkpoint), FAST))


def test_score_is_transformers_own_loss(loaded):
    text = "The birds sing in the morning."
    ids = torch.tensor([[loaded.end, *encode(loaded, text), loaded.end]])
    with torch.no_grad():
        expected = loaded.model(input_ids=ids, labels=ids).loss.item()
    found = score(loaded, [text])
    assert found.loss == pytest.approx(expected, abs=1e-5)
    assert found.tokens == ids.shape[1] - 1
    assert found.bits_per_character == pytest.approx(expected * found.tokens / 0.6931471805599453 / len(text), abs=1e-5)


def test_padding_and_neighbours_change_nothing(loaded):
    found = ["short one", "a much longer text that makes the short one be padded " * 2]
    alone = sum(score(loaded, [text]).nats for text in found)
    assert score(loaded, found).nats == pytest.approx(alone, rel=1e-5)
    inputs, targets = pad([[0, 5, 0], [0, 5, 6, 7, 0]], 0)
    assert inputs.tolist() == [[0, 5, 0, 0], [0, 5, 6, 7]]
    assert targets.tolist() == [[5, 0, -100, -100], [5, 6, 7, 0]]
    assert summed_loss(loaded.model, inputs, targets).item() > 0


def test_schedules():
    cosine, linear, constant = (Recipe(schedule=name, warmup=0.1) for name in ("cosine", "linear", "constant"))
    assert [learning_rate_factor(cosine, step, 100) for step in (0, 9, 10, 55)] == pytest.approx([0.1, 1.0, 1.0, 0.5])
    assert learning_rate_factor(cosine, 99, 100) == pytest.approx(0, abs=1e-3)
    assert learning_rate_factor(linear, 55, 100) == pytest.approx(0.5)
    assert learning_rate_factor(constant, 99, 100) == 1.0
    assert learning_rate_factor(Recipe(warmup=0.0), 0, 1) == 1.0


@pytest.mark.parametrize(
    "wrong",
    [{"n": 0}, {"n": 101}, {"n": 1.5}, {"n": True}, {"temperature": 0.0}, {"temperature": float("nan")}, {"top_p": 1.1}, {"top_k": -1},
     {"max_tokens": 0}, {"min_tokens": 20, "max_tokens": 10}, {"seed": -1}, {"temperature": "hot"}],
)  # fmt: skip
def test_sampling_refuses_nonsense(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Sampling(**wrong)
