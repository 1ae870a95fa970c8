"""The examples in config/ load, say nothing odd, and do their job with real files: only hosts and paths are changed."""

import io
import re
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from stage import Ear, Site, free_port, wait_for
from tranship.config import load, taken_on_trust

CONFIG = Path(__file__).parents[2] / "config"
NEW = ("mirror", "spare", "fci", "fci-archive", "granules", "upload", "dispatcher")


@pytest.mark.parametrize("name", NEW)
def test_it_loads_and_nothing_is_odd(name, tmp_path, monkeypatch):
    (tmp_path / "archive-login").write_text("transfer:planted-secret\n")
    (tmp_path / "archive-login").chmod(0o600)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert load(CONFIG / f"{name}.yaml", folders=taken_on_trust).warnings == ()


class Here:
    """The examples on this host: all addresses are loopback, all folders below the site's, ports free."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.ports: dict[str, int] = {}
        self.data = site.folder / "data"

    def port(self, host: str, port: str) -> int:
        return self.ports.setdefault(f"{host}:{port}", free_port())

    def start(self, role: str, name: str, chains: tuple[str, ...], **changes: str) -> None:
        """Start the example of this name, with these chains of it."""
        text = (CONFIG / f"{name}.yaml").read_text()
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        text = re.sub(
            r"port: (\d+), bind: ([\d.]+)",
            lambda m: f"port: {self.port(m[2], m[1])}, bind: 127.0.0.1",
            text,
        )
        text = re.sub(r"(192\.0\.2\.\d+):(\d+)", lambda m: f"127.0.0.1:{self.port(m[1], m[2])}", text)
        text = re.sub(r"(?m)^    publish: (\d+)$", lambda m: f"    publish: {self.port('', m[1])}", text)
        text = re.sub(r"192\.0\.2\.\d+", "127.0.0.1", text)
        text = re.sub(r"sftp://[a-z.]+/", "/", text)
        text = re.sub(r"(?m)(?<=[ \"/\[])/data/", f"{self.data}/", text)
        text = text.replace("login_file: archive-login", "")
        options = yaml.load(text, yaml.BaseLoader)
        options["chains"] = {chain: options["chains"][chain] for chain in chains}
        for chain in options["chains"].values():
            if "request" in chain:  # its port comes of its defaults' and its own block
                chain["request"]["port"] = self.port("192.0.2.10", chain["request"]["port"])
            if "allow" in chain or "allow" in options.get("defaults", {}):
                chain["allow"] = [f"file://{self.data}/**"]
            Path(str(chain.get("origin", self.data)).partition("{")[0]).parent.mkdir(
                parents=True, exist_ok=True
            )
        options["journal"] = str(self.site.folder / f"{name}.journal")
        file = self.site.write(f"{name}.yaml", options)
        self.site.tranship(name, role, str(file)).until(" ready")

    def ear(self, port: str, topic: str) -> Ear:
        return self.site.ear(self.port("", port), topic)


GATHERER = """
patterns:
  hrit:
    pattern: "H-000-{series:_<6s}-{platform_name:_<12s}-{channel_name:_<9s}-{segment:_<9s}-{nominal_time:%Y%m%d%H%M}-__"
    critical_files: ":PRO,:EPI"
    wanted_files: "IR_108:000001-000008,:PRO,:EPI"
    all_files: "IR_108:000001-000008,:PRO,:EPI"
    is_critical_set: true
    # client.yaml replaces it, and the gatherer makes names of what the messages say
    variable_tags: [platform_name]
timeliness: 1200
time_name: nominal_time
posttroll:
  topics: [/1b/hrit-segment/0deg]
  publish_topic: /1b/hrit/0deg
  nameservers: false
"""


def segments() -> list[str]:
    names = [f"IR_108___-{n:06d}___" for n in range(1, 9)] + ["_________-PRO______", "_________-EPI______"]
    return [f"H-000-MSG4__-MSG4________-{name}-202611221200-__" for name in names]


def test_segments_reach_the_segment_gatherer_as_a_full_slot(tmp_path):
    """server.yaml -> client.yaml -> pytroll-collectors' segment gatherer, whose dataset names every segment."""
    with Site(tmp_path) as site:
        here = Here(site)
        port = free_port()
        here.start("server", "server", ("hrit-0deg",))
        gatherer = tmp_path / "gatherer.yaml"
        options = yaml.safe_load(GATHERER)
        options["posttroll"] |= {
            "publish_port": port,
            "addresses": f"tcp://127.0.0.1:{here.port('', '9020')}",
        }
        gatherer.write_text(yaml.safe_dump(options))
        code = "from pytroll_collectors.scripts.segment_gatherer import main; main()"
        ear = site.ear(port, "/1b/hrit/0deg")
        process = site.run("gatherer", [sys.executable, "-c", code, "-v", "-c", str(gatherer)])
        process.until("Setting timezone")
        here.start("client", "client", ("hrit-0deg",))
        for name in segments():
            (here.data / "in/hrit" / name).write_bytes(name.encode())
        (message,) = ear.until(1, "dataset")
        assert {item["uid"] for item in message.data["dataset"]} == set(segments())
        for item in message.data["dataset"]:
            assert Path(item["uri"]).read_bytes() == item["uid"].encode()
            assert item["uri"].startswith(f"{here.data}/hrit/2026/11/22/")
        assert message.data["platform_name"] == "Meteosat-11"


def granule(**members: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as packed:
        for name, content in members.items():
            info = tarfile.TarInfo(f"{name}.h5")
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return out.getvalue()


def test_chunks_and_granules_arrive(tmp_path):
    """fci.yaml -> fci-archive.yaml, and beside them granules.yaml, whose server is fci.yaml's too."""
    with Site(tmp_path) as site:
        here = Here(site)
        here.ports["192.0.2.10:9010"] = here.port("192.0.2.10", "9011")
        chunks, granules = here.ear("9022", "/1c"), here.ear("9023", "/sdr")
        (here.data / "in/tar").mkdir(parents=True)
        more = f"""
  tar:
    origin: {here.data}/in/tar/{{name}}_b{{orbit:05d}}.tar.gz
    topic: /sdr/viirs-tar
    request: {{port: 9097, bind: 192.0.2.10, security: trusted-network}}
    allow: ["file:///data/fci/**"]
"""
        transfers = "    transfers: 8\n"
        here.start("server", "fci", ("fci-fdhsi", "tar"), **{transfers: transfers + more})
        here.start("client", "fci-archive", ("fci-fdhsi",))
        here.start("client", "granules", ("viirs",))
        chunk = (
            "W_XX-EUMETSAT-Darmstadt,IMG+SAT,MTI1+FCI-1C-RRAD-FDHSI-FD--x-x---x_C_EUMT_20261122120500_IDPFI_OPE"
            "_20261122115000_20261122115900_N__O_0072_{:04d}.nc"
        )
        for n in range(1, 41):
            (here.data / "in/fci" / chunk.format(n)).write_bytes(b"%d" % n)
        (here.data / "in/tar/SVDNB_b01234.tar.gz").write_bytes(granule(SVDNB=b"1", GDNBO=b"2"))
        told = chunks.until(40)
        assert {message.data["chunk"] for message in told} == set(range(1, 41))
        assert {message.data["platform_name"] for message in told} == {"Meteosat-12"}
        assert all(Path(m.data["uri"]).parent == here.data / "fci/20261122/0072" for m in told)
        (message,) = granules.until(1, "dataset")
        folder = here.data / "viirs/01234"
        assert [item["uri"] for item in message.data["dataset"]] == [
            f"{folder}/SVDNB.h5",
            f"{folder}/GDNBO.h5",
        ]
        wait_for(
            lambda: {p.name for p in folder.iterdir()} == {"SVDNB.h5", "GDNBO.h5"}, "the tar file is deleted"
        )
