"""SFTP: the conversation (version 3, draft-ietf-secsh-filexfer-02), written for speed, and its mover.

Requests are sent ahead, and answered in any order. They are as large as the server takes (`limits@openssh.com`):
what costs is their number, at both ends.
"""

from tranship_movers.sftp.conversation import Sftp
from tranship_movers.sftp.mover import SftpMover, SftpOptions

__all__ = ["Sftp", "SftpMover", "SftpOptions"]
