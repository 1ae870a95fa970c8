"""`ftp_root`: where this host has the folder that its FTP server shows as `/`."""

import asyncio
import io
import tarfile
from pathlib import Path

from rig import rig, until

from servers.ftp import PASSWORD, USER, Ftp, pyftpd


def test_what_an_ftp_server_of_this_host_shows_elsewhere_is_verified_and_unpacked(tmp_path: Path) -> None:
    async def main(ftp: Ftp) -> None:
        async with rig(tmp_path) as site:
            url = f"ftp://127.0.0.1:{ftp.port}/"
            await site.server(origin=f"{site.incoming}/{{name}}.tar", allow=[f"{url}**"])
            await site.client(
                destination=f"{url}{{name}}/",
                login=f"{USER}:{PASSWORD}",
                ftp_root=str(ftp.folder),
                create_target_directory=True,
                unpack="tar",
            )
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode="w") as archive:
                info = tarfile.TarInfo("a.h5")
                info.size = 7
                archive.addfile(info, io.BytesIO(b"content"))
            site.drop("slot.tar", packed.getvalue())
            [told] = await until(lambda: site.published, "published")
            assert told.data["uri"] == "/slot/a.h5"  # as whoever uses that server has it
            assert (ftp.folder / "slot/a.h5").read_bytes() == b"content"

    with pyftpd() as ftp:
        asyncio.run(main(ftp))
