"""Why a PostgreSQL ended, by its log."""

import pytest

from pgbourse.database.lastwords import initdb_last_words, server_last_words
from pgbourse.testing.servers import last_words

FATAL = '21:49:58 [2] FATAL:  could not write lock file "postmaster.pid": No space left on device'
PANIC = '21:49:58 [2] PANIC:  could not write to file "pg_wal/xlogtemp.2": No space left on device'


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ([FATAL], FATAL),
        ([FATAL, "… [3] LOG:  database system is shut down"], FATAL),
        ([PANIC, "… [9] postgres@postgres FATAL:  the database system is starting up"], PANIC),
        ([PANIC, "… [9] postgres@postgres FATAL:  the database system is in recovery mode"], PANIC),
        (
            [PANIC, "… [9] postgres@postgres FATAL:  the database system is not accepting connections"],
            PANIC,
        ),
        ([PANIC, "… [9] a@b FATAL:  terminating connection due to administrator command"], PANIC),
        (
            ["… [3] ERROR:  could not extend file: No space left on device", "… [3] FATAL:  out of ideas"],
            "… [3] FATAL:  out of ideas; … [3] ERROR:  could not extend file: No space left on device",
        ),
        (["… [3] LOG:  starting", "… [3] LOG:  ended"], "… [3] LOG:  ended"),
        (["", " "], ""),
    ],
)
def test_the_reason_is_found_among_what_came_after_it(log: list[str], words: str) -> None:
    assert server_last_words("\n".join(log)) == words


def test_what_initdb_says_is_told_with_its_hints() -> None:
    errors = (
        "… [7] FATAL:  could not extend file: wrote 4096 of 8192 bytes\n"
        "… [7] HINT:  Check free disk space.\n"
        "child process exited with exit code 1\n"
        'initdb: removing contents of data directory "/x"\n'
    )
    said = (
        "… [7] FATAL:  could not extend file: wrote 4096 of 8192 bytes; … [7] HINT:  Check free disk space."
    )
    assert initdb_last_words(errors) == said
    assert initdb_last_words("initdb: error: not as root\n") == "initdb: error: not as root"
    assert initdb_last_words("Killed\n") == "Killed"


def test_the_cause_is_told_and_not_the_advice_behind_it() -> None:
    said = (
        "Unable to find image 'nowhere:1' locally\n"
        "docker: Error response from daemon: pull access denied for nowhere.\n"
    )
    for advice in ("See 'docker run --help'.\n", "\nRun 'docker run --help' for more information\n", ""):
        cause = "docker: Error response from daemon: pull access denied for nowhere."
        assert last_words(said + advice) == cause
    assert last_words("See 'docker run --help'.") == "See 'docker run --help'."
    assert last_words(" \n") == ""
