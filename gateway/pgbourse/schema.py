"""Whether a document, request or reply, is one of the protocol: what docs/pgbourse.rng and pgbourse.xsd say.

Both are asked. The XSD has the better words for a value that isn't allowed; only the RELAX NG knows which
attributes contradict each other.
"""

import threading
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from lxml import etree

from pgbourse.errors import PgbourseError, one_line

__all__ = ["NotValid", "schema_folder", "validate", "validate_element"]

# A validator keeps the errors of its last document, so one thread at a time uses it.
_lock = threading.Lock()


class NotValid(PgbourseError):
    """A document isn't XML, or none of the protocol: the text says where, and what is wrong there first."""


def schema_folder() -> Path:
    """Return where the schemas are: inside the installed package, or in docs/ of a checkout."""
    packaged = Path(__file__).parent / "_schema"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "docs"


def validate(document: bytes) -> None:
    """Raise NotValid unless a document is one that the protocol knows, in all its attributes and values."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
    try:
        root = etree.fromstring(document, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise NotValid(f"not readable as XML: {one_line(error)}") from None
    if root.getroottree().docinfo.doctype:
        raise NotValid("line 1: a DOCTYPE is not allowed")
    validate_element(root)


def validate_element(root: Any) -> None:
    """Raise NotValid unless an element, with all that it holds, is a document that the protocol knows."""
    with _lock:
        values, structure = _schemas()
        if not values.validate(root):
            entry = values.error_log[0]
            raise NotValid(f"line {entry.line}: {one_line(entry.message)}")
        if not structure.validate(root):
            raise NotValid(_contradiction(structure, root))


def _contradiction(structure: etree.RelaxNG, root: Any) -> str:
    """Say which child is wrong, or else the root; the schema itself names its parent's line."""
    for child in root:
        alone = etree.Element(root.tag, root.attrib)
        alone.append(deepcopy(child))
        if not structure.validate(alone):
            root = child
            break
    return f"line {root.sourceline}: <{root.tag}>: an attribute is missing, or some contradict each other"


@cache
def _schemas() -> tuple[etree.XMLSchema, etree.RelaxNG]:
    folder = schema_folder()
    return (
        etree.XMLSchema(etree.parse(folder / "pgbourse.xsd")),
        etree.RelaxNG(etree.parse(folder / "pgbourse.rng")),
    )
