"""A bound ZeroMQ socket."""

import errno
import os
import time

import zmq

from tranship.wire.contract import BusError, host_and_port
from tranship.wire.doorman import Doorman
from tranship.wire.line import Context, Options, made_socket


def bound(
    context: Context, kind: int, address: str, options: Options, doorman: Doorman | None
) -> tuple[zmq.Socket[bytes], str]:
    """A socket that is bound at address, closed by doorman if there is one, and where it is really. Raises BusError."""
    host_and_port(address)
    made = made_socket(context, kind, options)
    made.setsockopt(zmq.IPV6, int("[" in address))
    if doorman:
        doorman.guard(made, address)
    try:
        _bind(made, address)
    except zmq.ZMQError as error:
        if doorman:
            doorman.leave(made)
        made.close(0)
        told, advice = os.strerror(error.errno or 0), _ADVICE.get(error.errno or 0, "")
        raise BusError(f"{address} can't be listened on: {told}{advice and '; '}{advice}") from None
    return made, made.get_string(zmq.LAST_ENDPOINT).rstrip("\0")


def _bind(made: zmq.Socket[bytes], address: str) -> None:
    """Bind. One that was just closed at this address is given a moment: libzmq lets go of it in another thread."""
    for moment in (0.002, 0.01, 0.05, 0.1):
        try:
            made.bind(address)
        except zmq.ZMQError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            time.sleep(moment)
        else:
            return
    made.bind(address)


_ADVICE = {
    errno.EADDRINUSE: "another process has it: `ss -ltnp` shows who",
    errno.EADDRNOTAVAIL: "is it an address of this host?",
    errno.EACCES: "ports below 1024 are for root",
}
