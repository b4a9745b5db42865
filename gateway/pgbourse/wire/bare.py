"""Find where a bare XML document ends, with just enough of XML's syntax for that.

It validates nothing. A document that is not well-formed ends where its root's name has been closed as often
as it was opened. So a forgotten end tag or quote gets an error reply, and no client waits forever.
"""

import re
from collections.abc import Callable

__all__ = ["BareScanner"]

# What can follow a "<" in content. Only a name's first 64 bytes count, so that an endless name is not matched
# again from its start with every byte received. Names that differ only after that count as one, which works
# too: elements are balanced, all together as well as each by itself.
MARKUP = re.compile(rb"<(?:(!--)|(!\[CDATA\[)|(\?)|(!)|(/?)([^\0\s<>/=\"']{0,64}))")
_NAME_BYTES = 64
_UNDECIDED = frozenset(start[:n] for start in (b"<!--", b"<![CDATA[") for n in range(1, len(start)))

TAG_STOP = re.compile(rb"[<>\"']")
TAG_QUOTE_STOP = {ord('"'): re.compile(rb'["<]'), ord("'"): re.compile(rb"['<]")}
DOCTYPE_STOP = re.compile(rb"[\[>\"']")
SUBSET_STOP = re.compile(rb"[<\]]")
DECLARATION_STOP = re.compile(rb"[>\"']")

# For bytes.translate: what a UTF-16 unit's high byte makes of its low byte.
_WIDE_MASK = b"\0" + b"\xff" * 255

_Mode = Callable[["BareScanner", bytearray], bool]


class BareScanner:
    """Scan one document, as it arrives, for its end.

    It reads any encoding in which bytes below 0x40 are always ASCII characters (UTF-8, ISO 8859, Shift_JIS,
    GB 18030, ...), and UTF-16 in both byte orders. It looks at each byte a bounded number of times, however
    the document is cut into pieces.
    """

    __slots__ = ("_after", "_closing", "_ended", "_low", "_mode", "_open", "_pos", "_root", "_until", "_view")

    def __init__(self, start: bytes | bytearray) -> None:
        """Prepare for a document that begins with `start`, of at least two bytes if the document has two."""
        # UTF-16 is scanned in a view of one byte a code unit; _low is where a unit's low byte stands.
        self._low: int | None = None
        if start[:2] in (b"\xff\xfe", b"<\0"):
            self._low = 0
        elif start[:2] in (b"\xfe\xff", b"\0<"):
            self._low = 1
        self._view = bytearray()
        self._mode: _Mode = BareScanner._content
        self._pos = 0
        self._root: bytes | None = None
        self._open = 0  # how many elements of the root's name are open: the others can't end the document
        self._closing = False  # the tag being read is an end tag
        self._ended = False
        self._until = b""  # what ends the comment, CDATA section, ... that is being skipped
        self._after: _Mode = BareScanner._content  # the mode after it

    @property
    def utf16_low_byte(self) -> int | None:
        """The position of a code unit's low byte: 0 in UTF-16LE, 1 in UTF-16BE, None in other encodings."""
        return self._low

    def scan(self, buffer: bytearray) -> int | None:
        """Return the document's length in bytes, or None while its end has not arrived.

        `buffer` begins with the document and only grows from one call to the next.
        """
        if self._low is None:
            text = buffer
        else:
            self._widen_view(buffer, self._low)
            text = self._view
        while not self._ended:
            if not self._mode(self, text):
                return None
        return self._pos if self._low is None else 2 * self._pos

    def _widen_view(self, buffer: bytearray, low: int) -> None:
        units = buffer[2 * len(self._view) : len(buffer) & ~1]
        lows: bytes | bytearray = units[low::2]
        highs = units[1 - low :: 2]
        if highs.count(0) != len(highs):
            # A unit above U+00FF becomes 0xFF, which is never markup. Integers do it for all units at once.
            mask = int.from_bytes(highs.translate(_WIDE_MASK))
            lows = (int.from_bytes(lows) | mask).to_bytes(len(lows))
        self._view += lows

    # Each mode reads on from _pos, and returns False when it needs more input. It looks at nothing twice,
    # except for a few first bytes of markup that were not enough to tell what it is.

    def _content(self, text: bytearray) -> bool:
        """Between tags: find the next "<". Tags with another name than the root's need nothing else."""
        at = text.find(b"<", self._pos)
        if at < 0:
            self._pos = len(text)
            return False
        match = MARKUP.match(text, at)
        assert match is not None  # an empty name always matches
        comment, cdata, instruction, declaration, slash, name = match.groups()
        self._pos = match.end()
        if comment:
            self._skip_to(b"-->", BareScanner._content)
        elif cdata:
            self._skip_to(b"]]>", BareScanner._content)
        elif instruction:
            self._skip_to(b"?>", BareScanner._content)
        elif declaration:
            if bytes(text[at : at + 9]) in _UNDECIDED:
                self._pos = at
                return False
            self._mode = BareScanner._doctype
        elif self._pos == len(text) and len(name) < _NAME_BYTES:
            self._pos = at
            return False
        elif self._root is None or name == self._root:
            self._root = name
            self._closing = bool(slash)
            self._mode = BareScanner._tag
        return True

    def _tag(self, text: bytearray) -> bool:
        """In a tag of the root's name: find its end, and whether it closes itself."""
        match = TAG_STOP.search(text, self._pos)
        if match is None:
            self._pos = len(text)
            return False
        at = match.start()
        stop = text[at]
        if stop in TAG_QUOTE_STOP:
            self._until = match.group()
            self._mode = BareScanner._tag_quote
            self._pos = at + 1
            return True
        # No "<" can stand in a tag: the ">" was forgotten, and other markup begins here.
        self._pos = at if stop == ord("<") else at + 1
        if self._closing:
            self._open -= 1
        elif stop == ord("<") or text[at - 1] != ord("/"):
            self._open += 1
        self._ended = self._open <= 0 or not self._root  # a nameless root has no end to wait for
        self._mode = BareScanner._content
        return True

    def _tag_quote(self, text: bytearray) -> bool:
        """In an attribute's value. No "<" can stand here either: the closing quote was forgotten."""
        match = TAG_QUOTE_STOP[self._until[0]].search(text, self._pos)
        if match is None:
            self._pos = len(text)
            return False
        self._pos = match.start() if match.group() == b"<" else match.end()
        self._mode = BareScanner._tag
        return True

    def _doctype(self, text: bytearray) -> bool:
        """In a DOCTYPE, outside its internal subset."""
        return self._declaration_until(text, DOCTYPE_STOP, BareScanner._content)

    def _subset(self, text: bytearray) -> bool:
        """In a DOCTYPE's internal subset, between declarations."""
        match = SUBSET_STOP.search(text, self._pos)
        if match is None:
            self._pos = len(text)
            return False
        at = match.start()
        self._pos = at + 1
        if text[at] == ord("]"):
            self._mode = BareScanner._doctype
            return True
        start = bytes(text[at : at + 4])
        if start == b"<!--":
            self._pos = at + 4
            self._skip_to(b"-->", BareScanner._subset)
        elif start[:2] == b"<?":
            self._pos = at + 2
            self._skip_to(b"?>", BareScanner._subset)
        elif start in (b"<", b"<!", b"<!-"):
            self._pos = at
            return at + len(start) < len(text)
        else:
            self._mode = BareScanner._declaration
        return True

    def _declaration(self, text: bytearray) -> bool:
        """In a declaration of the internal subset."""
        return self._declaration_until(text, DECLARATION_STOP, BareScanner._subset)

    def _declaration_until(self, text: bytearray, stops: re.Pattern[bytes], after: _Mode) -> bool:
        match = stops.search(text, self._pos)
        if match is None:
            self._pos = len(text)
            return False
        self._pos = match.end()
        stop = match.group()
        if stop == b">":
            self._mode = after
        elif stop == b"[":
            self._mode = BareScanner._subset
        else:
            self._skip_to(stop, self._mode)
        return True

    def _skip_to(self, until: bytes, after: _Mode) -> None:
        self._until = until
        self._after = after
        self._mode = BareScanner._skip

    def _skip(self, text: bytearray) -> bool:
        at = text.find(self._until, self._pos)
        if at < 0:
            # The first bytes of the end may already be here.
            self._pos = max(self._pos, len(text) - len(self._until) + 1)
            return False
        self._pos = at + len(self._until)
        self._mode = self._after
        return True
