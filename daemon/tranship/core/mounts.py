"""Where a file system tells of new files, and where it can't: by the kernel's table of mounts (proc(5), mountinfo)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|9p|afs|kafs|ceph|lustre|gfs2?|glusterfs|gpfs|ocfs2|orangefs|pvfs2|beegfs|panfs|coda|ncpfs"
    r"|virtiofs|vboxsf|vmhgfs|prl_fs|acfs|weka\w*|fuse|fuse\..+"
)
"""Types on which others write without this kernel, and so inotify, noticing it."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted file system: the folder, the type, and what is mounted."""

    point: str
    kind: str
    source: str

    @property
    def is_silent(self) -> bool:
        """Whether files can appear in it without an event."""
        return _NETWORK.fullmatch(self.kind) is not None


def mounts_of(table: str) -> list[Mount]:
    """The mounts that a mountinfo table lists, in its order. Lines that are none are passed over."""
    mounts = []
    for line in table.splitlines():
        head, dash, tail = line.partition(" - ")
        fields, facts = head.split(" "), tail.split(" ")
        if dash and len(fields) >= 5 and len(facts) >= 2:
            mounts.append(Mount(_plain(fields[4]), facts[0], _plain(facts[1])))
    return mounts


def touching(folder: str, mounts: Sequence[Mount]) -> list[Mount]:
    """The mount that folder (a path without links) lies on, and those that lie below folder."""
    over = [mount for mount in mounts if _lies_below(folder, mount.point)]
    below = [mount for mount in mounts if mount.point != folder and _lies_below(mount.point, folder)]
    # of several at one point, the last one hides the others
    return [*sorted(over, key=lambda mount: len(mount.point))[-1:], *below]


def _lies_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _plain(text: str) -> str:
    """A field without its escapes (octal, for white space and backslashes)."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
