"""The askers of one chain: one per address that was told, but not more than can be served."""

from collections import OrderedDict
from collections.abc import Callable

from tranship.wire.contract import Asker, Bus, BusError


class Askers:
    """One asker per address, made when it is needed.

    Addresses come from announcements, and whoever announces may tell any number of them; each costs sockets. When
    there are `most`, the one that was idle for longest makes room.
    """

    def __init__(self, bus: Bus, on_made: Callable[[Asker], None], most: int = 128) -> None:
        """No asker yet; each is handed to on_made, which is to collect its answers until BusError."""
        self._bus = bus
        self._on_made = on_made
        self._most = most
        self._made: OrderedDict[tuple[str, bool], Asker] = OrderedDict()

    def at(self, address: str, *, many: bool) -> Asker:
        """The asker of address (host:port). Raises BusError if there is no room for another one."""
        key = address, many
        asker = self._made.get(key)
        if asker is None:
            self._make_room(address)
            asker = self._made[key] = self._bus.asker(f"tcp://{address}", many=many)
            self._on_made(asker)
        self._made.move_to_end(key)
        return asker

    def close(self) -> None:
        """Close them all."""
        while self._made:
            self._made.popitem()[1].close()

    def _make_room(self, address: str) -> None:
        if len(self._made) < self._most:
            return
        idle = next((key for key, asker in self._made.items() if asker.idle), None)
        if idle is None:
            raise BusError(
                f"{address}: {self._most} other addresses are being asked and have not answered yet"
            )
        self._made.pop(idle).close()
