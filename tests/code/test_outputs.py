"""An output never swallows an input: whichever way the two meet, by name, by links, or by another spelling."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mynah.core.errors import InputError
from mynah.core.files import MARKER, atomic_folder
from mynah.core.outputs import refuse_inside, refuse_overlap


def folder(path: Path) -> Path:
    """A folder as a step writes it."""
    path.mkdir(parents=True)
    (path / MARKER).write_text("written whole\n")
    (path / "posts.jsonl").write_text(f"posts of {path.name}\n")
    return path


def same(root):
    return root / "raw", root / "raw"


def another_spelling(root):
    return root / "data" / ".." / "raw", root / "raw"


def link_to_the_input(root):
    (root / "link").symlink_to("raw")
    return root / "link", root / "raw"


def input_is_a_link(root):
    (root / "link").symlink_to("raw")
    return root / "raw", root / "link"


def holds(root):
    return root, root / "raw"


def holds_a_file(root):
    return root / "raw", root / "raw" / "posts.jsonl"


def lies_in(root):
    return root / "raw" / "data", root / "raw"


def lies_in_through_a_link(root):
    (root / "link").symlink_to("raw")
    return root / "link" / "deep" / "data", root / "raw"


def holds_a_link_on_the_way(root):
    folder(root / "elsewhere")
    (root / "data" / "link").symlink_to(root / "elsewhere")
    return root / "data", root / "data" / "link"


def holds_a_link_that_another_link_leads_to(root):
    folder(root / "elsewhere")
    (root / "data" / "link").symlink_to("../elsewhere")
    (root / "name").symlink_to("data/link")
    return root / "data", root / "name"


def a_file_of_the_input_is_a_link_into_it(root):
    (root / "raw" / "sources.json").symlink_to(root / "data" / "posts.jsonl")
    return root / "data", root / "raw"


def a_folder_of_the_input_is_a_link_to_it(root):
    (root / "raw" / "more").symlink_to(root / "data")
    return root / "data", root / "raw"


def hard_link(root):
    (root / "data" / "copy.jsonl").hardlink_to(root / "raw" / "posts.jsonl")
    return root / "data", root / "raw"


def a_file_is_a_hard_link(root):
    (root / "out.yaml").hardlink_to(root / "raw" / "posts.jsonl")
    return root / "out.yaml", root / "raw" / "posts.jsonl"


MEETINGS = [
    same, another_spelling, link_to_the_input, input_is_a_link, holds, holds_a_file, lies_in, lies_in_through_a_link, holds_a_link_on_the_way,
    holds_a_link_that_another_link_leads_to, a_file_of_the_input_is_a_link_into_it, a_folder_of_the_input_is_a_link_to_it, hard_link,
    a_file_is_a_hard_link,
]  # fmt: skip


@pytest.fixture
def root(tmp_path):
    """A folder of a step with two others in it."""
    for name in ("raw", "data"):
        folder(tmp_path / "work" / name)
    (tmp_path / "work" / MARKER).write_text("written whole\n")
    return tmp_path / "work"


@pytest.mark.parametrize("meeting", MEETINGS)
def test_an_output_that_meets_an_input_is_refused(root, meeting):
    output, read = meeting(root)
    with pytest.raises(InputError, match="which this command reads"):
        refuse_overlap(output, [root / "none", read])
    if not output.is_file():
        before = content(root)
        with pytest.raises(InputError), atomic_folder(output, [read]):
            pytest.fail("the block ran")
        assert content(root) == before


def test_what_is_apart_is_not_refused(root):
    (root / "data" / "link").symlink_to(root / "raw")  # a link in the output is removed, and not what it leads to
    (root / "loop").symlink_to("loop")
    (root / "raw" / "self").symlink_to(root / "raw")
    (root / "empty").mkdir()
    for output in ("data", "raw2", "ra", "empty", "new/deep", "loop/x"):
        refuse_overlap(root / output, [root / "raw", root / "none", root / "loop"])


def test_an_output_may_lie_in_the_work_folder_and_not_replace_it(root):
    refuse_overlap(root / "cards" / "wren", [], [root])
    for output in (root, root / "raw" / "..", root.parent):
        with pytest.raises(InputError):
            refuse_overlap(output, [], [root])


def test_an_output_is_not_a_folder_that_will_be_worked_in(root):
    for output in (root / "new", root / "new" / ".." / "new"):
        with pytest.raises(InputError, match="which this command reads"):
            refuse_overlap(output, [], [root / "new"])
    refuse_overlap(root / "new", [], [root / "other"])
    refuse_overlap(root / "new" / "model", [], [root / "new"])


def test_what_is_added_while_a_command_runs_stays_out_of_its_inputs(root):
    (root / "link").symlink_to("raw")
    for states in ("raw", "raw/states", "link/states"):
        with pytest.raises(InputError, match=r"is or lies in .*raw, which this command reads"):
            refuse_inside(root / states, [root / "raw"])
    for states in (".", "states", "raw2"):
        refuse_inside(root / states, [root / "raw", root / "none"])


def content(root: Path) -> dict[str, str]:
    """What a reader of `root` finds by each name, also behind links, which may lead around in a ring."""
    found = {}
    for parent, folders, files in os.walk(root, followlinks=True):
        if len(Path(parent).relative_to(root).parts) > 4:
            folders.clear()
        found |= {f"{parent}/{name}": path.read_text() for name in files if (path := Path(parent, name)).is_file()}
    return found


NAMES = ("a", "b", "a/a", "a/b", "b/a", "b/b", "a/a/a", "b/b/b")


@settings(max_examples=60)
@given(
    links=st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.booleans()), max_size=3),
    output=st.sampled_from(NAMES), read=st.sampled_from(NAMES),
)  # fmt: skip
def test_an_input_is_read_the_same_after_any_output_that_is_not_refused(tmp_path_factory, links, output, read):
    root = tmp_path_factory.mktemp("any")
    for name in NAMES:
        folder(root / name)
    for number, (at, to, is_hard) in enumerate(links):
        link = root / at / f"link-{number}"
        if is_hard:
            link.hardlink_to(root / to / "posts.jsonl")
        else:
            link.symlink_to(root / to)
    choices = [read, *(f"{at}/link-{number}" for number, (at, _, _) in enumerate(links))]
    before = [content(root / choice) for choice in choices]
    for choice, found in zip(choices, before, strict=True):
        try:
            with atomic_folder(root / output, [root / choice]) as written:
                (written / "posts.jsonl").write_text("new")
        except InputError:
            continue
        assert content(root / choice) == found
        return
