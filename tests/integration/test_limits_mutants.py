"""The tests of what a connection may cost fail on gateways that break one of these promises."""

from typing import Any

import pytest

from pgbourse.serve.connection import ClientConnection
from pgbourse.serve.traffic import Traffic
from tests.integration import test_limits as limits
from tests.integration.conftest import Gateway, StartGateway
from tests.integration.test_limits import OpenLine, open_line
from tests.integration.test_server import test_a_half_closed_connection_gets_every_reply as half_closed

__all__ = ["open_line"]  # a fixture


def test_time_from_the_last_byte_is_found_out(open_line: OpenLine, monkeypatch: pytest.MonkeyPatch) -> None:
    note = Traffic._note_unfinished

    def begin_anew(self: Traffic, connection: ClientConnection, framer: Any, *, begins: bool) -> None:
        note(self, connection, framer, begins=True)

    monkeypatch.setattr(Traffic, "_note_unfinished", begin_anew)
    with pytest.raises(AssertionError, match="52 == 30"):
        limits.test_one_byte_a_second_does_not_make_the_time_longer(open_line)


def test_a_framer_that_is_not_told_is_found_out(open_line: OpenLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Traffic, "_give_up_on", lambda self, connection: self.end(connection, "too late"))
    with pytest.raises(AssertionError):
        limits.test_what_the_end_of_input_completes_is_complete_when_the_time_is_up(open_line)


def test_white_space_that_counts_is_found_out(open_line: OpenLine, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Traffic.read

    def note_and_read(self: Traffic, connection: ClientConnection) -> bool:
        connection.io.idle_since = self.now
        return read(self, connection)

    monkeypatch.setattr(Traffic, "read", note_and_read)
    with pytest.raises(AssertionError):
        limits.test_an_idle_connection_is_closed_without_a_word(open_line)


def test_impatience_with_who_waits_is_found_out(open_line: OpenLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClientConnection, "owed", property(lambda _: False))
    with pytest.raises(AssertionError):
        limits.test_who_waits_for_a_reply_is_not_idle(open_line)


def test_addresses_that_are_not_counted_down_are_found_out(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = Traffic.close

    def close_under_another_name(self: Traffic, connection: ClientConnection) -> None:
        connection.address = "elsewhere"
        close(self, connection)

    monkeypatch.setattr(Traffic, "close", close_under_another_name)
    with pytest.raises(AssertionError, match="too many connections"):
        limits.test_connections_of_one_address_are_counted(start_gateway)


def test_a_hang_up_at_the_end_of_input_is_found_out(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = Traffic.end

    def hang_up(self: Traffic, connection: ClientConnection, error: Any = None) -> None:
        end(self, connection, error)
        if connection.io.eof:
            self.close(connection)

    monkeypatch.setattr(Traffic, "end", hang_up)
    with pytest.raises((AssertionError, ConnectionError)):
        half_closed(gateway)


def test_many_accepts_in_a_row_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgbourse.serve.server.ACCEPTS", 1000)
    with pytest.raises(AssertionError):
        limits.test_those_who_connect_leave_the_others_their_turn(monkeypatch)
