"""A gateway that answers failed children otherwise than docs/protocol.md says under "Codes" is found."""

import re
from collections.abc import Callable

import pytest

from pgbourse.schema import NotValid
from pgbourse.serve.portions import Item
from tests.integration.conftest import Gateway, Session, StartGateway
from tests.integration.test_dispatch import CREATE
from tests.integration.test_dispatch import (
    test_a_database_in_which_everything_fails_does_so_soon as all_fails,
)
from tests.integration.test_no_room import each_child_has_its_result, fill
from tests.sql.mutants import Mutant, install

__all__ = ["fill"]  # a fixture

_ERROR = re.compile(rb"<error\b[^>]*>[^<]*</error>")


@pytest.fixture
def one_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer all children of a document that failed alike with one error."""
    reply = Item.reply

    def shortened(self: Item) -> bytes:
        written = reply(self)
        for error in set(_ERROR.findall(written)):
            first, _, others = written.partition(error)
            written = first + error + others.replace(error, b"")
        return written

    monkeypatch.setattr(Item, "reply", shortened)


@pytest.mark.usefixtures("one_for_all")
def test_one_error_where_there_is_no_room_is_found(
    start_gateway: StartGateway, fill: Callable[[str], None]
) -> None:
    with pytest.raises(AssertionError):
        each_child_has_its_result(start_gateway(lanes=0), fill)


@pytest.mark.usefixtures("one_for_all")
def test_one_error_where_all_fails_is_found(
    gateway: Gateway, connection: Session, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(AssertionError):
        all_fails(gateway, connection, caplog)


def test_a_code_of_the_database_that_is_in_no_table_is_found(gateway: Gateway, connection: Session) -> None:
    """Every test that reads a reply holds that none comes."""
    gateway.ask(CREATE)
    install(connection, Mutant("unknown_order", "begin return 'mislaid'; end"))
    with pytest.raises(NotValid, match="<error>"):
        gateway.ask(b'<transactions id="1" codes="true"><query id="99"/></transactions>')
