"""What the fuzzer looks for, as ordinary tests: the kept corpus, and inputs that Hypothesis puts together.

PGBOURSE_FUZZ_INPUTS says how many inputs Hypothesis tries of each kind (default 300); `make fuzz` goes on for
as long as told.
"""

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgbourse.wire.bare import BareScanner
from pgbourse.wire.framing import Framer
from tests.fuzz.properties import PROPERTIES, framing_is_clean, messages_are_clean
from tests.fuzz.tokens import DOCUMENT_TOKENS, STREAM_TOKENS

CORPUS = {name: sorted((Path(__file__).parent / "corpus" / name).iterdir()) for name in PROPERTIES}
INPUTS = int(os.environ.get("PGBOURSE_FUZZ_INPUTS", "300"))

streams = st.lists(st.sampled_from(STREAM_TOKENS) | st.binary(max_size=3), max_size=25).map(b"".join)
documents = st.lists(st.sampled_from(DOCUMENT_TOKENS) | st.binary(max_size=2), max_size=25).map(b"".join)


@st.composite
def nearly_documents(draw: st.DrawFn) -> bytes:
    """Documents of the corpus with something cut out or put in."""
    data = draw(st.sampled_from(CORPUS["messages"])).read_bytes()
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(len(data), start + 10)))
    return data[:start] + b"".join(draw(st.lists(st.sampled_from(DOCUMENT_TOKENS), max_size=2))) + data[end:]


@pytest.mark.parametrize(
    ("name", "path"),
    [pytest.param(name, path, id=f"{name}-{path.name}") for name, paths in CORPUS.items() for path in paths],
)
def test_the_corpus_comes_out_clean(name: str, path: Path) -> None:
    PROPERTIES[name](path.read_bytes())


@settings(max_examples=INPUTS, deadline=None)
@given(streams)
def test_any_stream_comes_out_clean(stream: bytes) -> None:
    framing_is_clean(stream)


@settings(max_examples=INPUTS, deadline=None)
@given(documents | nearly_documents())
def test_any_document_comes_out_clean(document: bytes) -> None:
    messages_are_clean(document)


def assert_found_out(name: str) -> None:
    """Some input of the corpus must show the fault."""
    for path in CORPUS[name]:
        with contextlib.suppress(Exception):  # however it breaks
            PROPERTIES[name](path.read_bytes())
            continue
        return
    pytest.fail("the broken code passes for good")


def test_an_end_that_is_cut_in_two_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scanner that forgets the first bytes of --> when the rest has not come."""

    def skip(self: BareScanner, text: bytearray) -> bool:
        at = text.find(self._until, self._pos)
        self._pos = len(text) if at < 0 else at + len(self._until)
        self._mode = BareScanner._skip if at < 0 else self._after
        return at >= 0

    monkeypatch.setattr(BareScanner, "_skip", skip)
    assert_found_out("framing")


def test_a_framer_that_holds_too_much_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    complete = Framer._complete

    def unlimited(self: Framer) -> Any:
        self._max = 1 << 30
        return complete(self)

    monkeypatch.setattr(Framer, "_complete", unlimited)
    assert_found_out("framing")


@pytest.mark.parametrize(
    ("place", "broken"),
    [
        ("pgbourse.wire.replies.escape", lambda text: text),
        ("pgbourse.wire.elements.refuse_doctype", lambda _: None),
        ("pgbourse.wire.fields.MAX_ORDER_ID", 10**19 - 1),
        ("pgbourse.wire.fields.Field.problem", lambda *_: None),
    ],
)
def test_broken_messages_are_found_out(monkeypatch: pytest.MonkeyPatch, place: str, broken: Any) -> None:
    monkeypatch.setattr(place, broken)
    assert_found_out("messages")
