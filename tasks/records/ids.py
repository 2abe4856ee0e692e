"""Content ids: a hash of what a record is, not of where it is. Given once, joined on everywhere."""

import hashlib
from collections.abc import Iterable

DIGITS = 16


def content_id(prefix: str, *parts: str | int) -> str:
    """`prefix_` and 16 hex digits of a BLAKE2b over the parts.

    Parts are length-prefixed, so that ("ab", "c") and ("a", "bc") differ. At 64 bits, ten million records collide with
    probability 3e-6.
    """
    return f"{prefix}_{_digest(parts).hexdigest()}"


def content_ids(prefix: str, parts: tuple[str | int, ...], last: Iterable[str | int]) -> list[str]:
    """`content_id(prefix, *parts, one)` for each `one` of `last`; what they share is hashed once."""
    shared, ids = _digest(parts), []
    for one in last:
        digest = shared.copy()
        digest.update(_framed(one))
        ids.append(f"{prefix}_{digest.hexdigest()}")
    return ids


def _digest(parts: Iterable[str | int]) -> "hashlib.blake2b":
    digest = hashlib.blake2b(digest_size=DIGITS // 2)
    for part in parts:
        digest.update(_framed(part))
    return digest


def _framed(part: str | int) -> bytes:
    raw = str(part).encode("utf-8", "surrogatepass")
    return len(raw).to_bytes(8, "little") + raw
