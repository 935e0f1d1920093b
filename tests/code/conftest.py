"""Failed assertions in the helpers of these tests are explained as in a test."""

import pytest

pytest.register_assert_rewrite(
    *(f"tests.code.{name}" for name in ("cli_commands", "fetch_mutations", "fetched_files", "pip_machine", "report_page"))
)
