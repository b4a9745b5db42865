"""What errors have in common."""

from pgbourse.errors import counted, one_line


def test_libpqs_sentences_stand_apart_in_one_line() -> None:
    told = (
        "connection failed: Connection refused\n"
        "\tIs the server running on that host and accepting TCP/IP connections?\n"
    )
    assert one_line(told).startswith(
        "connection failed: Connection refused. Is the server running on that host"
    )
    assert one_line("ERROR:  no such table:\n\tX") == "ERROR: no such table: X"


def test_numbers_are_words_with_their_noun() -> None:
    assert [counted(0, "order"), counted(1, "order"), counted(12_150, "order")] == [
        "0 orders",
        "1 order",
        "12,150 orders",
    ]
