"""FTP and FTPS (RFC 959, 2228, 2389, 2428, 2640, 3659, 4217; HASH of draft-bryan-ftp-hash).

Every name goes over as an absolute path and every file in binary, so that nothing depends on what was asked
before. What a server can do beyond RFC 959 is read from FEAT and SITE HELP; what it then refuses all the same
is forgotten, and the powers say so.
"""

from tranship_movers.ftp.mover import FtpMover
from tranship_movers.ftp.options import FtpOptions

__all__ = ["FtpMover", "FtpOptions"]
