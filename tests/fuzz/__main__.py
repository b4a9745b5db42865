"""The coverage-guided fuzzer: `python -m tests.fuzz framing 60` tries to break framing for 60 seconds.

It begins with the corpus, and finds out by itself which inputs reach code that no other has reached. An input
that breaks a property is left in the corpus, where the ordinary tests will find it, and ends the run.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pgbourse.wire"]):
    from tests.fuzz.properties import PROPERTIES

from tests.fuzz.tokens import DOCUMENT_TOKENS, STREAM_TOKENS

CORPUS = Path(__file__).parent / "corpus"
TOKENS = {"framing": STREAM_TOKENS, "messages": DOCUMENT_TOKENS}
LENGTH = 600  # bytes of an input at most: enough to go over the limit of a document


def _escaped(token: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in token)


def main() -> None:
    name, seconds = sys.argv[1:3]
    corpus = CORPUS / name
    with tempfile.TemporaryDirectory(prefix="pgbourse-fuzz-") as folder:
        found, words = Path(folder, "found"), Path(folder, "words")
        found.mkdir()
        words.write_text("".join(f'"{_escaped(token)}"\n' for token in TOKENS[name]))
        options = [f"-max_total_time={seconds}", f"-max_len={LENGTH}", f"-artifact_prefix={corpus}/"]
        atheris.Setup(
            [sys.argv[0], *options, f"-dict={words}", *sys.argv[3:], str(found), str(corpus)],
            PROPERTIES[name],
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
