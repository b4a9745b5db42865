"""Where a server answers over HTTP, as its data folder tells: only while it holds the folder."""

from pathlib import Path

import pytest

from pgbourse.database.opsaddress import find_address, left_address


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:9100"),
        ("0.0.0.0", "http://127.0.0.1:9100"),
        ("::", "http://[::1]:9100"),
        ("fd00::1", "http://[fd00::1]:9100"),
    ],
)
def test_it_is_left_for_as_long_as_the_server_runs(tmp_path: Path, host: str, address: str) -> None:
    (tmp_path / "pgbourse.lock").write_text("123\n")
    with left_address(tmp_path, host, 9100):
        assert find_address(tmp_path) == address
    assert find_address(tmp_path) is None
    assert [file.name for file in tmp_path.iterdir()] == ["pgbourse.lock"]


def test_what_a_killed_server_has_left_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "pgbourse.lock").write_text("123\n")
    (tmp_path / "pgbourse.http").write_text("122 http://127.0.0.1:9100\n")
    assert find_address(tmp_path) is None
    for torn in ("", "123", "123 ", "\n"):
        (tmp_path / "pgbourse.http").write_text(torn)
        assert find_address(tmp_path) is None


def test_a_folder_that_can_not_be_written_is_no_reason_to_fail(tmp_path: Path) -> None:
    with left_address(tmp_path / "nowhere", "127.0.0.1", 1):
        assert find_address(tmp_path / "nowhere") is None
