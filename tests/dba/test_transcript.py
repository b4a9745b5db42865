"""What counts as the same shape, and what does not."""

import pytest

from tests.dba.transcript import differences

TABLE = [" id |     at", "----+------------", "  1 | 2026-11-23 10:00:00.5+00", "(1 row)"]


@pytest.mark.parametrize(
    "output",
    [
        TABLE,
        [" id  |  at", "-----+---", " 1234 | 1999-01-01 00:00:00+02", "(1 row)", ""],
    ],
)
def test_numbers_times_and_widths_may_differ(output: list[str]) -> None:
    assert differences(TABLE, output) == ""


@pytest.mark.parametrize(
    "output",
    [
        [],
        TABLE[:3],
        [*TABLE, "NOTICE:  and more"],
        [TABLE[0].replace("id", "no"), *TABLE[1:]],
        [*TABLE[:3], TABLE[2], "(2 rows)"],
        ["ERROR:  permission denied"],
    ],
)
def test_columns_rows_and_words_may_not(output: list[str]) -> None:
    assert differences(TABLE, output) != ""


def test_an_ellipsis_stands_for_any_lines() -> None:
    assert differences(["...", "(1 row)"], TABLE) == ""
    assert differences([TABLE[0], "...", "(1 row)"], TABLE) == ""
    assert differences(["...", "(1 row)"], ["ERROR:  no"]) != ""
    assert differences(["...", "a", "...", "b"], ["x", "b", "y", "b"]) != ""
