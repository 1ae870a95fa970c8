"""One SSH connection, as `sftp` and `scp` need it: who the host is, who we are, and a deadline on everything.

`paramiko` knows the protocol. It waits without end in some places and tells a cut line from a long silence in
few; here both are mended: an open question is bounded by a timer, a write by `Wire`, a read by the stream's way.
And it is slow with much at once: `Lane` is a short way past it.
"""

import logging

from tranship_movers.ssh.lane import Bytes
from tranship_movers.ssh.line import Line
from tranship_movers.ssh.meanings import failure, here, understood
from tranship_movers.ssh.options import SshOptions
from tranship_movers.ssh.stream import NO_COMMAND, PIECE, Ran, Stream

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # Else its errors go to stderr by themselves.

__all__ = [
    "NO_COMMAND",
    "PIECE",
    "Bytes",
    "Line",
    "Ran",
    "SshOptions",
    "Stream",
    "failure",
    "here",
    "understood",
]
