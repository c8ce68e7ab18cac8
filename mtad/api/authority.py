"""Authority: whose DKIM keys sign the mail of a domain: its own, or those of a domain of ours above it.

Room: api. Pure. May import: storage. DMARC takes either, as both are of one organisation (RFC 7489 §3.1.1).
"""

from collections.abc import Container, Mapping

from mtad.storage.accounts import DomainRow


def authority_of(row: DomainRow, by_name: Mapping[str, DomainRow], signing: Container[int]) -> DomainRow:
    """signing: ids of the domains that have keys that sign. Itself when none above has any."""
    return row if row.own_dkim else above(row.name, by_name, signing) or row


def above(name: str, by_name: Mapping[str, DomainRow], signing: Container[int]) -> DomainRow | None:
    """The nearest domain of ours above `name` that signs with keys of its own."""
    while "." in name:
        name = name.partition(".")[2]
        found = by_name.get(name)
        if found is not None and found.own_dkim and found.id in signing:
            return found
    return None
