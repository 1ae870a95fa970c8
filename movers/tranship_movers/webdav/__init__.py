"""WebDAV (RFC 4918), over HTTP or TLS.

Servers differ in how they refuse, so a refusal is looked into before it is named. They delete a whole folder
if told to remove its name, or to move something there: so we look first.
"""

from tranship_movers.webdav.mover import WebdavMover, WebdavOptions

__all__ = ["WebdavMover", "WebdavOptions"]
