"""Whether documents can be sent again without anything happening twice."""

from collections.abc import Iterable
from xml.etree import ElementTree

__all__ = ["places_orders", "problem_of_repeating"]


def places_orders(documents: Iterable[bytes]) -> bool:
    """Return whether any of these documents places an order."""
    return any(child.tag in ("order", "replace") for root in _roots(documents) for child in root)


def problem_of_repeating(documents: Iterable[bytes]) -> str | None:
    """Return what would happen twice if these documents were sent once more, in their order; or None."""
    canceled_all: set[str | None] = set()  # accounts
    for root in _roots(documents):
        account = root.get("id")
        for child in root:
            names = child.attrib
            if child.tag in ("order", "replace"):
                if "ref" not in names:
                    return f"<{child.tag}> without a ref would be placed twice"
                if account in canceled_all:
                    return "the first <cancel all> would cancel what was ordered after it"
            elif child.tag == "reduce" and "shares" in names:
                return "<reduce> by shares would cancel them twice: say to how many"
            elif child.tag == "cancel" and "all" in names and "after" not in names:
                canceled_all.add(account)
            elif child.tag == "symbol" and len(child):
                return "shares would be granted twice"
    return None


def _roots(documents: Iterable[bytes]) -> Iterable[ElementTree.Element]:
    for document in documents:
        try:
            yield ElementTree.fromstring(document)
        except ElementTree.ParseError:
            continue  # the server reads nothing in it either
