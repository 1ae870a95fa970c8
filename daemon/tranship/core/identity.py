"""When two announcements mean the same delivery.

Version = path, size, modification time, checksum. Between servers the path may differ, so what identifies a
delivery for a client is what the consumer gets: the names and the bytes. A peer of the old kind announces names
only; then the sorted names together are the identity, as that peer itself has it.
"""

import hashlib
from collections.abc import Iterable

from tranship.core.values import Wanted


def identity(files: Iterable[Wanted]) -> str:
    """The identity (32 hex digits) of a delivery of files."""
    digest = hashlib.blake2b(digest_size=16)
    for uid, size, what in sorted((f.uid, f.size, f.checksum or str(f.mtime_ns)) for f in files):
        digest.update(f"{uid}\0{size}\0{what}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def apart(first: str, path: str) -> str:
    """The identity of a namesake: the same name and bytes as first, but another path at the same server."""
    return hashlib.blake2b(f"{first}\0{path}".encode(errors="surrogateescape"), digest_size=16).hexdigest()
