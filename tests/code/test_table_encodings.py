"""Tables as spreadsheets save them: other separators, UTF-16, Windows-1252; each is recognized and said, and nothing else is taken for one."""

from pathlib import Path

import pytest
from fetch_inputs import posts_of, refusal
from hypothesis import given
from hypothesis import strategies as st

from components.fetch.tables.encodings import encoding_of

WESTERN = [
    "Der Käse schmeckt übel, na schön.",
    "C’est l’été à Orléans, voilà…",  # noqa: RUF001
    "“¿Qué pasó?” – mañana",  # noqa: RUF001
    "São Paulo, 5 € às três",
    "Ærø på øen",
    "NÃO",
]
TABLE = "text,lang\n" + "".join(f'"{text}",xx\n' for text in WESTERN)


@pytest.mark.parametrize(("separator", "word"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_other_separators(tmp_path: Path, capsys: pytest.CaptureFixture[str], separator: str, word: str) -> None:
    rows = [['"id"', '"text"', "author"], ["1", f'"a{separator} ""b"", c"', "ann"], ["2", "x, y", "ben"]]
    (tmp_path / "a.csv").write_text("\n".join(separator.join(row) for row in rows))
    posts = posts_of(tmp_path, tmp_path / "a.csv")
    assert [(post.text, post.author) for post in posts] == [(f'a{separator} "b", c', "ann"), ("x, y", "ben")]
    assert f"separated by {word}" in capsys.readouterr().err


def test_tab_separated_files_and_excels_first_line(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("text\tid\nx\t1\n")
    assert [post.text for post in posts_of(tmp_path, tmp_path / "a.tsv")] == ["x"]
    (tmp_path / "out").rename(tmp_path / "before")
    (tmp_path / "b.csv").write_text("sep=;\nid;text\n2;y;z\n")
    message = refusal(tmp_path, tmp_path / "b.csv")
    assert "b.csv, line 3: has 3 fields" in message
    assert "semicolons" in message


@pytest.mark.parametrize("form", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_utf16(tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str, suffix: str) -> None:
    text = "text,id\nHällo 🎭,1\n" if suffix == "csv" else '{"text": "Hällo 🎭", "id": 1}\n'
    (tmp_path / f"a.{suffix}").write_bytes(text.encode(form))
    assert [(post.text, post.id) for post in posts_of(tmp_path, tmp_path / f"a.{suffix}")] == [("Hällo 🎭", "1")]
    said = capsys.readouterr().err
    assert ("is read as UTF-16" in said) == form.startswith("utf-16")


def test_utf16_that_ends_within_a_character_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("text\nok\n".encode("utf-16")[:-1])
    assert "is not UTF-16" in refusal(tmp_path, tmp_path / "a.csv")


def test_windows_1252(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_bytes(TABLE.encode("cp1252"))
    assert [post.text for post in posts_of(tmp_path, tmp_path / "a.csv")] == WESTERN
    assert "a.csv: is read as Windows-1252, in which it has words such as 'Käse'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("Привет, как дела", "cp1251"), ("Привет, как дела", "koi8-r"), ("Γειά σου", "cp1253"), ("zażółć gęślą jaźń", "cp1250"),  # noqa: RUF001
        ("Käse, schön, über", "mac-roman"), ("Käse, schön, über", "cp850"), ("日本語の文", "shift-jis"), ("שלום לכם", "cp1255"),
        ("中文的句子", "gb18030"),
    ],
)  # fmt: skip
def test_another_encoding_is_refused_with_its_line(tmp_path: Path, text: str, form: str) -> None:
    (tmp_path / "a.csv").write_bytes(f"text\nok\n{text}\n".encode(form))
    assert "a.csv, line 3, byte" in refusal(tmp_path, tmp_path / "a.csv")


def test_utf8_with_one_broken_letter_is_refused(tmp_path: Path) -> None:
    whole = ("text\n" + "\n".join(WESTERN) + "\n").encode()
    (tmp_path / "a.csv").write_bytes(b"text\nzero\xe9\n" + whole.partition(b"\n")[2])
    assert "a.csv, line 2, byte 9: is not UTF-8" in refusal(tmp_path, tmp_path / "a.csv")


def split(data: bytes, size: int) -> list[bytes]:
    return [data[place : place + size] for place in range(0, len(data), size)]


@given(st.text(max_size=60), st.integers(1, 30))
def test_utf8_is_never_taken_for_anything_else(text: str, size: int) -> None:
    data = ("text,id\n" + text.replace("\0", "")).encode("utf-8", "replace")
    assert encoding_of(each for each in split(data, size)) == ("utf-8", "")


@given(st.binary(max_size=80), st.integers(1, 30))
def test_any_bytes_have_an_encoding(data: bytes, size: int) -> None:
    encoding, _ = encoding_of(each for each in split(data, size))
    data.decode(encoding, "replace")
