"""Log lines: one line an event, whatever it holds, for people or for programs."""

import json
import logging
from collections.abc import Callable, Iterator

import pytest

from pgbourse.logs import json_formatter, start_logging, text_formatter

FORMATTERS = [text_formatter, json_formatter]


def record(message: str, *arguments: object, error: BaseException | None = None) -> logging.LogRecord:
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord("pgbourse.x", logging.WARNING, __file__, 1, message, arguments, exc_info)


def failure() -> BaseException:
    try:
        raise ValueError("of ours")
    except ValueError as error:
        return error


@pytest.mark.parametrize("formatter", FORMATTERS)
@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\x1b[2Jb", "a\x00b", "a\u2028b", "a\x85b"])
def test_an_event_is_one_line_of_printable_characters(
    formatter: Callable[[], logging.Formatter], text: str
) -> None:
    line = formatter().format(record("got %s", text))
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert "got a" in line


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_a_traceback_is_part_of_the_line(formatter: Callable[[], logging.Formatter]) -> None:
    line = formatter().format(record("unforeseen", error=failure()))
    assert len(line.splitlines()) == 1
    assert "ValueError: of ours" in line
    assert "in failure" in line


def test_text_begins_with_time_level_and_logger() -> None:
    line = text_formatter().format(record("%d clients", 3))
    assert line.endswith(" WARNING pgbourse.x: 3 clients")
    assert line[:4].isdigit()


def test_json_holds_the_same_as_fields() -> None:
    event = record("größer als %d", 3)
    event.created, event.msecs = 1_519_348_326.25, 250.0
    assert json.loads(json_formatter().format(event)) == {
        "time": "2018-02-23T01:12:06.250Z",
        "level": "warning",
        "logger": "pgbourse.x",
        "message": "größer als 3",
    }
    assert "Traceback" in json.loads(json_formatter().format(record("x", error=failure())))["traceback"]


def test_a_line_tells_which_of_several_processes_it_is_from() -> None:
    assert text_formatter(2).format(record("x")).endswith(" WARNING pgbourse.x[2]: x")
    assert json.loads(json_formatter(2).format(record("x")))["process"] == 2
    assert "process" not in json.loads(json_formatter().format(record("x")))


def test_a_message_is_no_format_once_it_is_made() -> None:
    assert text_formatter().format(record("%s", "100 %s {x}")).endswith(": 100 %s {x}")


@pytest.fixture
def _levels() -> Iterator[None]:
    names = ("pgbourse", "psycopg.pool")
    before = [logging.getLogger(name).level for name in names]
    yield
    for name, level in zip(names, before, strict=True):
        logging.getLogger(name).setLevel(level)


@pytest.mark.usefixtures("_levels")
def test_the_pools_attempts_to_connect_are_told_for_debugging_alone() -> None:
    for level, told in (("info", False), ("warning", False), ("debug", True)):
        start_logging(level)
        assert logging.getLogger("psycopg.pool").isEnabledFor(logging.WARNING) is told
