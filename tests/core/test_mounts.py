"""Network file systems are told apart by the kernel's own table."""

import pytest

from tranship.core.mounts import mounts_of, touching

TABLE = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
25 22 0:22 / /dev/shm rw,nosuid - tmpfs tmpfs rw
40 22 0:41 / /data rw,relatime shared:9 master:1 - nfs4 archive:/export/my\040data rw,vers=4.2
41 40 0:42 / /data/fast rw - xfs /dev/sdb1 rw
42 22 0:43 / /mnt/with\040space rw - fuse.sshfs anna@host:/ rw
43 22 0:44 / /twice rw - nfs host:/a rw
44 43 0:45 / /twice rw - ext4 /dev/sdc rw
45 22 0:46 / /disk rw - fuseblk /dev/sdd1 rw
46 22 0:47 / /win rw - cifs //host/share rw
not a line of a table
"""


@pytest.mark.parametrize(
    ("folder", "kinds"),
    [
        ("/in/a", ["ext4"]),
        ("/data/in", ["nfs4"]),
        ("/database", ["ext4"]),  # no more than its beginning is the same
        ("/data", ["nfs4", "xfs"]),
        ("/data/fast/in", ["xfs"]),
        ("/mnt", ["ext4", "fuse.sshfs"]),
        ("/mnt/with space/in", ["fuse.sshfs"]),
        ("/twice/in", ["ext4"]),  # the later hides the earlier
        ("/win", ["cifs"]),
    ],
)
def test_what_a_folder_lies_on_and_what_lies_below(folder: str, kinds: list[str]) -> None:
    assert [mount.kind for mount in touching(folder, mounts_of(TABLE))] == kinds


def test_which_file_systems_tell_nothing() -> None:
    silent = {mount.kind for mount in mounts_of(TABLE) if mount.is_silent}
    assert silent == {"nfs4", "fuse.sshfs", "nfs", "cifs"}
    assert "archive:/export/my data" in {mount.source for mount in mounts_of(TABLE)}
