"""`python -m bench.ftp`: FTP against curl, lftp and rclone, as far as they are installed, in one run, as ratios.

The servers are on loopback, and files in memory where there is /dev/shm, so that the disk is out of it. Runs
are interleaved, each into a new folder; every time is from start to end, with connecting; inf means that not all
files arrived. `upload` goes the whole way (temporary name, size verified, modification time, renamed); `put`
writes to the name itself, as the others do, and keeps the modification time. Everybody has one connection;
rclone verifies the size.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr
from tests.servers.ftp import PASSWORD, SERVERS, Ftp

from bench.contest import SMALL, Way, compare, files, in_memory, obscured, parser, rclone, share
from tranship_movers.ftp import FtpMover, FtpOptions
from tranship_movers.place import Place


def main() -> None:
    """Measure, and print a report in Markdown."""
    options = parser("ftp", __doc__, list(SERVERS), ["vsftpd", "vsftpd-tls"]).parse_args()
    with in_memory() as folder:
        large = files(folder / "large", 1, options.size << 20)
        small = files(folder / "small", options.files, SMALL)
        for name in options.what:
            with SERVERS[name]() as server:
                bench = Bench(server, folder)
                for title, sources in (
                    (f"{name}: one file of {options.size} MiB", large),
                    (f"{name}: {options.files} files of 10 kB", small),
                ):
                    size = sum(source.stat().st_size for source in sources)
                    compare(title, bench.ways(sources), options.runs, size)


@dataclass(frozen=True)
class Bench:
    """One server, and who can bring files there; `work` is a private folder."""

    server: Ftp
    work: Path

    def ways(self, sources: Sequence[Path]) -> dict[str, Way]:
        """Ways to put sources into a folder of the server's."""
        ways: dict[str, Callable[[str, Sequence[Path]], None]] = {
            "tranship, upload": lambda folder, sources: share(self._connected, sources, folder),
            "tranship, put": self._put,
        }
        for name, way in (("curl", self._curl), ("lftp", self._lftp), ("rclone copy", self._rclone)):
            # rclone does not go on with the TLS session, which servers demand.
            if (name.startswith("rclone") or shutil.which(name)) and (
                name != "rclone copy" or not self.server.authority
            ):
                ways[name] = way
        return {name: self._way(name, way, sources) for name, way in ways.items()}

    def _way(self, name: str, bring: Callable[[str, Sequence[Path]], None], sources: Sequence[Path]) -> Way:
        local = self.server.folder / name.translate({ord(letter): None for letter in " ,"})
        local.mkdir(exist_ok=True)
        local.chmod(0o777)

        def whole() -> bool:
            arrived = [file.stat().st_size for file in local.iterdir()]
            for file in local.iterdir():
                file.unlink()
            return arrived == [sources[0].stat().st_size] * len(sources)

        return Way(lambda: bring(f"{self.server.base}/{local.name}", sources), whole)

    def _connected(self) -> FtpMover:
        server = self.server
        place = Place(server.scheme, server.host, "/", server.port, server.user, SecretStr(PASSWORD))
        tls = {"tls": server.tls, "ca_file": server.authority} if server.authority else {}
        return FtpMover(place, FtpOptions.model_validate(tls))

    def _put(self, folder: str, sources: Sequence[Path]) -> None:
        with closing(self._connected()) as mover:
            for source in sources:
                mover.put(source, f"{folder}/{source.name}")

    def _curl(self, folder: str, sources: Sequence[Path]) -> None:
        server = self.server
        netrc = self.work / "netrc"
        netrc.write_text(f"machine {server.host} login {server.user} password {PASSWORD}\n")
        command = ["curl", "--silent", "--netrc-file", str(netrc)]
        if server.authority:
            command += ["--ssl-reqd", "--cacert", str(server.authority)]
        names = ",".join(str(source) for source in sources)
        scheme = "ftps" if server.tls == "implicit" else "ftp"
        command += ["--upload-file", f"{{{names}}}" if len(sources) > 1 else names]
        subprocess.run(
            [*command, f"{scheme}://{server.host}:{server.port}/%2F{folder[1:]}/"],
            check=False,
            stdout=subprocess.DEVNULL,
        )

    def _lftp(self, folder: str, sources: Sequence[Path]) -> None:
        server = self.server
        script = self.work / "lftp"
        tls = "true" if server.authority else "false"
        lines = [
            "set cmd:fail-exit true",
            "set ftp:use-feat true",
            f"set ftp:ssl-allow {tls}; set ftp:ssl-force {tls}; set ftp:ssl-protect-data {tls}",
            *([f"set ssl:ca-file {server.authority}"] if server.authority else []),
            f"open -u {server.user},{PASSWORD} -p {server.port} ftp://{server.host}",
            f"mput -O {folder} {sources[0].parent}/*",
        ]
        script.write_text("\n".join(lines) + "\n")
        home = {**os.environ, "HOME": str(self.work)}
        subprocess.run(["lftp", "-f", str(script)], check=True, stdout=subprocess.DEVNULL, env=home)

    def _rclone(self, folder: str, sources: Sequence[Path]) -> None:
        server = self.server
        remote = {
            "RCLONE_CONFIG_THERE_TYPE": "ftp",
            "RCLONE_CONFIG_THERE_HOST": server.host,
            "RCLONE_CONFIG_THERE_PORT": str(server.port),
            "RCLONE_CONFIG_THERE_USER": server.user,
            "RCLONE_CONFIG_THERE_PASS": obscured(PASSWORD),
        }
        rclone("copy", str(sources[0].parent), f"there:{folder}", "--transfers", "1", **remote)


if __name__ == "__main__":
    main()
