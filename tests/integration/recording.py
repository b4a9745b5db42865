"""Documents of the base protocol, and what a server has answered them: recorded once, replayed for good.

A line of recorded/0.1.0.jsonl is a document, its bytes as Latin-1, and the reply of pgbourse 0.1.0.
`python -m tests.integration.recording HOST PORT <recorded/0.1.0.jsonl` sends these documents to a server with
an empty exchange, and prints them with its replies.

Ids that the server gave are written {1}, {2}, … in the order in which it gave them; the time is written T.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator

from tests.integration.client import WireClient

__all__ = ["play"]

_OPENED = re.compile(rb'<opened [^>]* id="(\d+)"')
_ID = re.compile(rb'(<(?:status|canceled|opened|error)[^>]* id="|no such order: |>order )(\d+)')
_TIME = re.compile(rb' time="\d+"')


def play(documents: Iterable[bytes], ask: Callable[[bytes], bytes]) -> Iterator[bytes]:
    """Send documents with the ids filled in that were given, and return the replies without ids and times."""
    given: list[bytes] = []
    for document in documents:
        for number, order_id in enumerate(given, 1):
            document = document.replace(b"{%d}" % number, order_id)
        reply = _TIME.sub(b' time="T"', ask(document))
        given += _OPENED.findall(reply)
        names = {order_id: b"{%d}" % number for number, order_id in enumerate(given, 1)}
        yield _ID.sub(lambda found, names=names: found[1] + names.get(found[2], found[2]), reply)  # type: ignore[misc]


def _main() -> None:
    documents = [json.loads(line)["document"].encode("latin-1") for line in sys.stdin]
    with WireClient((sys.argv[1], int(sys.argv[2]))) as client:
        for document, reply in zip(documents, play(documents, client.ask_bytes), strict=True):
            pair = {"document": document.decode("latin-1"), "reply": reply.decode()}
            sys.stdout.write(json.dumps(pair) + "\n")


if __name__ == "__main__":
    _main()
