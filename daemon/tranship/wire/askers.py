"""The askers of one chain: one per address that was told, but not more than can be served."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from tranship.wire.contract import Asker, Bus, BusError

FIRST_CONTACTS = 64
"""Addresses at which nobody was reached yet that are tried at once."""

CONTACT = 1.0
"""Seconds after which such an address makes room for another, if one wants it."""

REMEMBERED = 1024
"""Addresses of which it is remembered that somebody was reached there."""


@dataclass(frozen=True, slots=True)
class _Made:
    asker: Asker
    at: float


class Askers:
    """One asker per address, made when it is needed.

    Addresses come from announcements, and whoever announces may tell any number of them; each costs sockets. When
    there are `most`, the one that was idle for longest makes room. Where nobody was reached yet, few are tried at
    once, so that false addresses take no room from those that serve, and little time from who is new.
    """

    def __init__(self, bus: Bus, on_made: Callable[[Asker], None], most: int = 128) -> None:
        """No asker yet; each is handed to on_made, which is to collect its answers until BusError."""
        self._bus = bus
        self._on_made = on_made
        self._most = most
        self._made: OrderedDict[tuple[str, bool], _Made] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._leaving: list[Asker] = []

    def at(self, address: str, *, many: bool) -> Asker:
        """The asker of address (host:port). Raises BusError if there is no room for another one."""
        key = address, many
        made = self._made.get(key)
        if made is None:
            self._make_room(address)
            asker = self._bus.asker(f"tcp://{address}", many=many)
            made = self._made[key] = _Made(asker, asyncio.get_running_loop().time())
            self._on_made(asker)
        self._made.move_to_end(key)
        return made.asker

    def close(self) -> None:
        """Close them all."""
        for asker in (*self._leaving, *(made.asker for made in self._made.values())):
            asker.close()
        self._leaving.clear()
        self._made.clear()

    def _make_room(self, address: str) -> None:
        for asker in [asker for asker in self._leaving if asker.idle]:
            self._leaving.remove(asker)
            asker.close()
        for (where, _), made in self._made.items():
            if made.asker.reached:
                self._remember(where)
        proven = [key for key in self._made if key[0] in self._known]
        if len(proven) >= self._most and not self._let_idle_go(proven):
            raise BusError(
                f"{address}: {self._most} other addresses are being asked and have not answered yet"
            )
        unproven = [key for key in self._made if key[0] not in self._known]
        if address in self._known or len(unproven) < FIRST_CONTACTS or self._let_idle_go(unproven):
            return
        oldest = min(unproven, key=lambda key: self._made[key].at)
        if asyncio.get_running_loop().time() - self._made[oldest].at < CONTACT:
            raise BusError(
                f"{address}: {FIRST_CONTACTS} other new addresses are being tried, and nobody is there yet"
            )
        self._leaving.append(self._made.pop(oldest).asker)
        self._leaving[-1].give_up()

    def _let_idle_go(self, keys: list[tuple[str, bool]]) -> bool:
        """Close the one of keys that was idle for longest; False if none is."""
        idle = next((key for key in keys if self._made[key].asker.idle), None)
        if idle is not None:
            self._made.pop(idle).asker.close()
        return idle is not None

    def _remember(self, address: str) -> None:
        self._known[address] = None
        self._known.move_to_end(address)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
