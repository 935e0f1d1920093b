"""What several files of these tests share, and that failed assertions in their helpers are explained as in a test."""

import pytest

pytest.register_assert_rewrite(
    *(f"tests.code.{name}" for name in ("cli_commands", "fetch_mutations", "fetched_files", "pip_machine", "report_page"))
)

RUN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def home(tmp_path):
    """A work folder, beside a folder of somebody else."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "dear").write_text("mine")
    (tmp_path / "work" / "mlartifacts" / RUN / "artifacts").mkdir(parents=True)
    (tmp_path / "work" / "mlartifacts" / RUN / "artifacts" / "posts").write_text("posts")
    yield tmp_path / "work"
    assert (tmp_path / "other" / "dear").read_text() == "mine"
