"""Old documents mean what they meant: what pgbourse 0.1.0 answered is answered now, byte for byte."""

import json
import re
from pathlib import Path

import pytest

from tests.integration.conftest import StartGateway
from tests.integration.recording import play

RECORDED = Path(__file__).parent / "recorded" / "0.1.0.jsonl"
PAIRS = [
    (pair["document"].encode("latin-1"), pair["reply"].encode())
    for pair in map(json.loads, RECORDED.read_text().splitlines())
]

# What has been changed since on purpose: how many digits a number may have, and who reads XML, whose words
# errors repeat.
CHANGED = re.compile(rb"(?<=at most 18 before and )\d+|(?<=not readable as XML: )[^<]*")


@pytest.mark.parametrize("lanes", [0, 2])
def test_old_documents_are_answered_as_they_were(start_gateway: StartGateway, lanes: int) -> None:
    client = start_gateway(lanes=lanes).connect()
    replies = play([document for document, _ in PAIRS], client.ask_bytes)
    for (document, recorded), reply in zip(PAIRS, replies, strict=True):
        assert CHANGED.sub(b"", reply) == CHANGED.sub(b"", recorded), document
