"""Bytes that go to the place, piece by piece."""

import hashlib
from base64 import b64encode
from collections.abc import Iterator
from io import BytesIO

from tranship_movers.s3.parts import PIECE, Tell


class Body(BytesIO):
    """Bytes to be sent, in a form that botocore can hash and sign."""

    def __init__(self, content: bytes, tell: Tell) -> None:
        super().__init__(content)
        self.content = content
        self.told = tell
        md5 = hashlib.md5(content, usedforsecurity=False)
        self.md5, self.md5_in_base64 = md5.hexdigest(), b64encode(md5.digest()).decode()

    def tell_rest(self) -> None:
        """Tell of all bytes, as far as that was not done piece by piece."""
        self.told(len(self.content))


class Pieces:
    """A body for the connection. It has no `read`, by which far smaller pieces would be taken."""

    def __init__(self, body: Body) -> None:
        self._body = body

    def __iter__(self) -> Iterator[memoryview]:
        view = memoryview(self._body.content)
        for start in range(0, len(view), PIECE):
            yield view[start : start + PIECE]
            self._body.told(min(start + PIECE, len(view)))

    def seek(self, position: int) -> None:
        """Go back to the start, to be sent again."""
        self._body.seek(position)
