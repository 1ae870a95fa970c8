"""Where deliveries go: the destination of each, and the folder that it needs on this host."""

import os
import socket
from collections import OrderedDict
from dataclasses import replace
from functools import lru_cache
from urllib.parse import quote

from trollsift import compose as fill_in

from tranship.core.routing import UNFILLABLE
from tranship.flows.arrival import is_here
from tranship.lanes import Threads
from tranship.wire.messages import Message
from tranship_movers.errors import MoverError
from tranship_movers.place import Place

_REMEMBERED = 1000
_SERVED = frozenset({"scp", "sftp", "ftp", "ftps"})

place_of = lru_cache(maxsize=1024)(Place.parse)
"""The place of a destination (URL)."""


def destination_of(message: Message, template: str) -> tuple[str, str]:
    """Where what message is about is to go (URL), and why nowhere ("" if it can go there).

    A server of files without a host is that of this one: who moves there may be elsewhere.
    """
    try:
        url = str(fill_in(template, message.dated)) if "{" in template else template
        place = place_of(url)
        url.encode()
        if not place.host and place.scheme in _SERVED:
            url = str(replace(place, host=socket.gethostname()))
    except KeyError as error:
        return "", f"destination {template} needs {error}, which the announcement lacks"
    except (*UNFILLABLE, MoverError) as error:
        return "", f"destination {template} can't be filled in: {error}"
    if ".." in place.path.split("/"):
        return "", f"destination {template} would lead to {place.path}"
    return url, ""


def quoted(login: str) -> str:
    """A login (user[:password]) as it stands in a URL."""
    user, colon, password = login.partition(":")
    return quote(user, safe="") + colon + quote(password, safe="")


class Folders:
    """The folders of destinations on this host, made before they are needed, as this user would have them (umask)."""

    def __init__(self, root: str, threads: Threads) -> None:
        """They lie below root."""
        self._root = root
        self._threads = threads
        self._made: OrderedDict[str, None] = OrderedDict()

    async def make(self, place: Place) -> None:
        """Make the folder of place, if it is on this host. Raises OSError."""
        if not is_here(place):
            return
        folder = os.path.join(self._root, os.path.dirname(place.path).lstrip("/"))
        if folder not in self._made:
            await self._threads.do(os.makedirs, folder, exist_ok=True)
            self._made[folder] = None
            if len(self._made) > _REMEMBERED:
                self._made.popitem(last=False)
