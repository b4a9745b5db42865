"""The tests of hostile clients fail on gateways that are careless with them (tests/faults/careless.py)."""

import contextlib
from collections.abc import Callable

import pytest

from tests.faults import test_hostile as hostile
from tests.faults.conftest import StartGateway
from tests.faults.test_hostile import DOCUMENTS, Watched, sockets

__all__ = ["sockets"]  # a fixture

StartMutant = Callable[..., Watched]


@pytest.fixture
def start_mutant(start_gateway: StartGateway, database: str) -> StartMutant:
    def start(mutant: str, *options: str) -> Watched:
        return Watched(start_gateway("--database-url", database, *options, mutant=mutant))

    return start


def test_16_kb_more_for_each_connection_are_found_out(
    start_mutant: StartMutant, sockets: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostile, "CONNECTIONS", 2000)
    watched = start_mutant("needs_more_for_each_connection")
    with pytest.raises(AssertionError, match=r"\d < "):
        hostile.test_as_many_connections_as_may_be_hold_halves_of_requests(watched, sockets)


def test_any_number_of_halves_is_found_out(start_mutant: StartMutant, sockets: contextlib.ExitStack) -> None:
    watched = start_mutant("holds_any_number_of_halves")
    with pytest.raises(AssertionError, match="assert 0"):
        hostile.test_halves_of_large_documents_are_bounded_in_all(watched, sockets)


def test_resets_that_are_forgotten_are_found_out(
    start_mutant: StartMutant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.integration.client._GUARD", 5.0)
    watched = start_mutant("keeps_what_was_reset")
    with pytest.raises(AssertionError, match="waited until all of them are forgotten"):
        hostile.test_sockets_that_vanish_leave_nothing_behind(watched)


def test_a_doctype_that_is_read_is_found_out(start_mutant: StartMutant) -> None:
    watched = start_mutant("reads_what_a_doctype_says")
    with pytest.raises(AssertionError, match=r"\[\] == \['error'\]|closed the connection"):
        hostile.test_a_hostile_document_gets_an_error_and_the_connection_goes_on(
            watched, DOCUMENTS["external entity"]
        )


def test_a_tree_that_is_walked_is_found_out(start_mutant: StartMutant) -> None:
    watched = start_mutant("walks_a_tree")
    document = DOCUMENTS["deep nesting that is well-formed"]
    with pytest.raises((AssertionError, ConnectionError), match=r"closed the connection|reset"):
        hostile.test_a_hostile_document_gets_an_error_and_the_connection_goes_on(watched, document)


def test_time_squared_for_attributes_is_found_out(
    start_mutant: StartMutant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.integration.client._GUARD", 4.0)
    watched = start_mutant("reads_all_attributes")
    with pytest.raises(TimeoutError):
        hostile.test_a_hostile_document_gets_an_error_and_the_connection_goes_on(
            watched, DOCUMENTS["many attributes among many tags"]
        )


def test_a_name_that_is_repeated_in_full_is_found_out(start_mutant: StartMutant) -> None:
    watched = start_mutant("repeats_names_in_full")
    with pytest.raises(AssertionError, match=r"\d < 1000"):
        hostile.test_a_hostile_document_gets_an_error_and_the_connection_goes_on(
            watched, DOCUMENTS["a long name"]
        )


def test_names_that_are_kept_are_found_out(start_mutant: StartMutant) -> None:
    watched = start_mutant("never_changes_threads")
    with pytest.raises(AssertionError, match=r"\d < \(30 \* "):
        hostile.test_names_that_clients_invent_are_forgotten(watched)


def test_a_child_too_many_is_found_out(start_mutant: StartMutant) -> None:
    watched = start_mutant("takes_any_number_of_children")
    with pytest.raises(AssertionError, match="more than 250000 children"):
        hostile.test_as_many_children_as_a_document_may_have_are_all_answered(watched)


@pytest.mark.parametrize("kind", ["length line", "bare"])
def test_lengths_without_a_limit_are_found_out(start_mutant: StartMutant, kind: str) -> None:
    watched = start_mutant("takes_documents_of_any_length", "--request-timeout", "1")
    with pytest.raises(AssertionError, match="not complete within 1 seconds"):
        hostile.test_a_wrong_length_is_told_and_ends_the_connection(watched, *hostile.LENGTHS[kind])
