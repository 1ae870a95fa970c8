"""Digest authentication (RFC 7616)."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Self
from urllib.request import parse_http_list, parse_keqv_list


@dataclass(slots=True)
class Challenge:
    """A digest challenge of a server (RFC 7616, qop=auth), and how often it was answered."""

    realm: str
    nonce: str
    algorithm: str
    opaque: str
    qop: str
    stale: bool
    answered: int = 0

    @classmethod
    def of(cls, header: str) -> Self | None:
        """The challenge in a WWW-Authenticate header, or None if it has none that we can answer."""
        match = DIGEST.search(header)
        if match is None:
            return None
        told = parse_keqv_list([pair for pair in parse_http_list(match[1]) if "=" in pair])
        algorithm = told.get("algorithm", "MD5").upper()
        offered = [word.strip() for word in told.get("qop", "").split(",")]
        if algorithm not in DIGESTS or "nonce" not in told or (offered != [""] and "auth" not in offered):
            return None
        return cls(
            realm=told.get("realm", ""),
            nonce=told["nonce"],
            algorithm=algorithm,
            opaque=told.get("opaque", ""),
            qop="auth" if "auth" in offered else "",
            stale=told.get("stale", "").lower() == "true",
        )

    def answer(self, user: str, password: str, method: str, target: str) -> str:
        """The Authorization header that proves user and password without showing them."""
        self.answered += 1
        count, ours = f"{self.answered:08x}", secrets.token_hex(16)
        login = self._hash(f"{user}:{self.realm}:{password}")
        middle = f"{self.nonce}:{count}:{ours}:{self.qop}" if self.qop else self.nonce
        proof = self._hash(f"{login}:{middle}:{self._hash(f'{method}:{target}')}")
        words = {"username": user, "realm": self.realm, "nonce": self.nonce, "uri": target, "response": proof}
        if self.opaque:
            words["opaque"] = self.opaque
        told = [f'{key}="{_escaped(value)}"' for key, value in words.items()] + [
            f"algorithm={self.algorithm}"
        ]
        if self.qop:
            told += [f"qop={self.qop}", f"nc={count}", f'cnonce="{ours}"']
        return "Digest " + ", ".join(told)

    def _hash(self, text: str) -> str:
        return hashlib.new(
            DIGESTS[self.algorithm], text.encode("utf-8", "surrogateescape"), usedforsecurity=False
        ).hexdigest()


DIGEST = re.compile(r"\bDigest\s+(.*?)(?:,\s*(?:Basic|Bearer|Negotiate|NTLM|Digest)\b|$)", re.I | re.S)
DIGESTS = {"MD5": "md5", "SHA-256": "sha256"}


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
