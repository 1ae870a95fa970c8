"""The examples in config/ load, say nothing odd, and do their job with real files: only hosts and paths are changed."""

import io
import os
import re
import sys
import tarfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pytest
import yaml
import zmq

from servers import s3
from servers.keys import Ring
from servers.ssh import PASSWORD, USER, asyncsshd
from stage import Ear, Process, Site, free_port, wait_for
from tranship.config import load, taken_on_trust
from tranship.wire.messages import compose

CONFIG = Path(__file__).parents[2] / "config"
NEW = (
    *("mirror", "spare", "fci", "fci-archive", "granules", "quicklooks", "upload", "dispatcher"),
    *("fetch", "move", "closed"),
)


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

    def start(
        self,
        role: str,
        name: str,
        chains: tuple[str, ...],
        environment: Mapping[str, str] = {},
        **changes: str,
    ) -> Process:
        """Start the example of this name, with these chains of it."""
        options = yaml.load(self.text(name, **changes), yaml.BaseLoader)
        options["chains"] = {chain: options["chains"][chain] for chain in chains}
        for chain in options["chains"].values():
            if int(chain.get("request", {}).get("port", 0)) not in (
                0,
                *self.ports.values(),
            ):  # its port comes of its defaults' and its own block
                chain["request"]["port"] = self.port("192.0.2.10", chain["request"]["port"])
            allowed = chain.get("allow", options.get("defaults", {}).get("allow", ["s3://"]))
            if not allowed[0].startswith("s3://"):
                chain["allow"] = [f"file://{self.data}/**"]
            origin = str(chain.get("origin", self.data))
            os.makedirs(os.path.dirname(origin.partition("{")[0]), exist_ok=True)
        options["journal"] = str(self.site.folder / f"{name}.journal")
        file = self.site.write(f"{name}.yaml", options)
        return self.site.tranship(name, role, str(file), **environment).until(" ready")

    def text(self, name: str, **changes: str) -> str:
        """The example of this name, with these changes, for this host."""
        text = (CONFIG / f"{name}.yaml").read_text()
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        text = re.sub(
            r"port: (\d+), bind: ([\d.]+)",
            lambda m: f"port: {self.port(m[2], m[1])}, bind: 127.0.0.1",
            text,
        )
        text = re.sub(
            r"((192\.0\.2|198\.51\.100)\.\d+):(\d+)", lambda m: f"127.0.0.1:{self.port(m[1], m[3])}", text
        )
        text = re.sub(r"127\.0\.0\.1:(90\d\d)\b", lambda m: f"127.0.0.1:{self.port('', m[1])}", text)
        text = re.sub(r"(?m)^( *\w+): (\d{4})$", lambda m: f"{m[1]}: {self.port('', m[2])}", text)
        text = re.sub(r"192\.0\.2\.\d+", "127.0.0.1", text)
        text = re.sub(r"sftp://(?!127\.0\.0\.1:)[a-z0-9.]+/", "/", text)
        text = re.sub(r"(?m)(?<=[ \"/\[])/(data|var/spool)/", f"{self.data}/", text)
        return text if "sftp://" in text else text.replace("login_file: archive-login", "")

    def ear(self, port: str, topic: str, host: str = "") -> Ear:
        return self.site.ear(self.port(host, port), topic)


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


def test_between_two_networks_and_with_a_spare(tmp_path):
    """server.yaml -> mirror.yaml -> client.yaml, and server.yaml -> spare.yaml, which has it when client.yaml dies."""
    with Site(tmp_path) as site:
        here = Here(site)
        here.ports["192.0.2.30:9020"] = here.port("", "9020")
        primary, spare = here.ear("9020", "/1b"), here.ear("9020", "/1b", "192.0.2.31")
        here.start("server", "server", ("hrit-0deg",))
        here.start("mirror", "mirror", ("hrit-0deg",))
        inside = {"- 192.0.2.10:9010\n      - 192.0.2.11:9010": "- 198.51.100.20:9010"}
        client = here.start("client", "client", ("hrit-0deg",), **inside)
        here.start("client", "spare", ("hrit-0deg",))
        first, *others = segments()
        reception = here.data / "in/hrit"
        (reception / first).write_bytes(first.encode())
        [told] = primary.until(1)
        arrived = here.data / "hrit/2026/11/22"
        assert (told.data["uri"], told.data["platform_name"]) == (f"{arrived}/{first}", "Meteosat-11")
        assert told.data["origin"].endswith(
            f":{here.port('198.51.100.20', '9094')}"
        )  # it was the mirror that sent it
        client.kill()
        for name in others:
            (reception / name).write_bytes(name.encode())
        wait_for(lambda: {m.data["uid"] for m in spare.of("file")} >= set(others), "the spare has them all")
        assert {p.name: p.read_bytes() for p in arrived.iterdir()} == {n: n.encode() for n in segments()}
        assert {m.data["platform_name"] for m in spare.of("file")} == {"Meteosat-11"}
        assert len({m.data["tranship"]["id"] for m in spare.of("file")}) == len(spare.of("file"))


def test_across_networks_by_keys(tmp_path):
    """server.yaml, closed by keys, -> closed.yaml; who has no key hears neither."""
    ring = Ring(tmp_path / "keys").make("archive", "kiruna", "ear")
    keys = f"curve: {{secret_key_file: {ring.secret('kiruna')}, clients: {ring.clients}}}"
    theirs = {"role: server": f"role: server\n{keys}", "security: trusted-network": "security: curve"}
    ours = {
        "/etc/tranship/keys/archive.key_secret": str(ring.secret("archive")),
        "/etc/tranship/keys/clients": str(ring.clients),
        "/etc/tranship/keys/kiruna.key": str(ring.public("kiruna")),
        "/etc/tranship/keys/svalbard.key": str(ring.public("kiruna")),
    }
    with Site(tmp_path) as site:
        here = Here(site)
        here.start("server", "server", ("hrit-0deg",), **theirs)
        here.start("client", "closed", ("hrit-0deg",), **ours)
        ports = {name: here.port(*name) for name in (("192.0.2.10", "9010"), ("192.0.2.30", "9020"))}
        ear = site.ear(ports["192.0.2.30", "9020"], by=ring.by("ear", "archive"))
        deaf = [site.ear(port) for port in ports.values()]
        arrived, names = here.data / "hrit/2026/11/22", iter(segments())

        def heard() -> bool:
            name = next(names)
            (here.data / "in/hrit" / name).write_bytes(name.encode())
            wait_for((arrived / name).exists, f"{name} arrives")
            return bool(ear.of("file"))

        wait_for(heard, "a file is told to who has a key")
        assert not any(each.listen() for each in deaf)


def test_quicklooks_go_into_a_bucket_and_come_out_of_it(tmp_path):
    """quicklooks.yaml -> upload.yaml -> a real bucket -> fetch.yaml."""
    with s3.seaweed() as bucket, Site(tmp_path) as site:
        here = Here(site)
        uploaded, fetched = here.ear("9024", "/product", "192.0.2.12"), here.ear("9040", "/fetched")
        bucket.client().create_bucket(Bucket="quicklooks")
        environment = {
            "AWS_ACCESS_KEY_ID": s3.KEY,
            "AWS_SECRET_ACCESS_KEY": s3.SECRET,
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        }
        there = {"https://s3.example": bucket.url}
        here.start("server", "quicklooks", ("quicklooks",), environment, **there)
        here.start("client", "upload", ("quicklooks",))
        here.start("fetch", "fetch", ("quicklooks",), environment, **there)
        sent = {f"natural_{sat}_202611221200.png": os.urandom(5000) for sat in ("MSG4", "MTI1")}
        for name, content in sent.items():
            (here.data / "quicklooks" / name).write_bytes(content)
        assert {m.data["uri"] for m in uploaded.until(2)} == {
            f"s3://quicklooks/2026/11/22/{name}" for name in sent
        }
        told = {m.data["uid"]: m for m in fetched.until(2)}
        for name, content in sent.items():
            key = bucket.client().get_object(Bucket="quicklooks", Key=f"2026/11/22/{name}")
            assert key["Body"].read() == content
            path = here.data / "www" / name.split("_")[1] / "20261122" / name
            assert (told[name].subject, told[name].data["uri"]) == ("/fetched/quicklook", str(path))
            assert told[name].data["product"] == "natural"
            assert path.read_bytes() == content
        wait_for(lambda: not list((here.data / "quicklooks").iterdir()), "what was delivered is deleted")
        assert s3.SECRET not in "".join(process.output for process in site.processes)


GRANULE = "SVM15_{}_d20261122_t120000{}_e1201000_b01234_c20261122121000_cspp_dev.h5"


def test_granules_are_moved_and_dispatched_by_what_they_are_and_cleaned_when_old(tmp_path, monkeypatch):
    """move.yaml -> dispatcher.yaml; clean.yaml takes away what is old."""
    with asyncsshd() as archive, Site(tmp_path) as site:
        here = Here(site)
        home, other = tmp_path / "home", free_port()
        (home / ".ssh").mkdir(parents=True)
        (home / ".ssh/known_hosts").write_text(archive.known_hosts.read_text())
        (home / "archive-login").write_text(f"{USER}:{PASSWORD}\n")
        (home / "archive-login").chmod(0o600)
        environment = {"HOME": str(home), "CREDENTIALS_DIRECTORY": str(home)}
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(home))
        dispatched, archived = here.ear("9030", "/dispatched"), here.ear("9030", "/archived")
        moved = here.ear("9020", "/sdr/viirs")
        somebody = site._context.socket(zmq.PUB)
        somebody.bind(f"tcp://127.0.0.1:{other}")
        both = f"[127.0.0.1:9020, 127.0.0.1:{other}]"
        here.start("dispatcher", "dispatcher", ("archive", "forecast"), **{"[127.0.0.1:9020]": both})
        host = {"archive.example": f"127.0.0.1:{archive.port}"}
        here.start("move", "move", ("viirs",), environment, **host)
        granules = {GRANULE.format("npp", n): b"granule %d" % n for n in range(3)}
        for name, content in granules.items():
            (here.data / "in/viirs" / name).write_bytes(content)
        own = here.data / "out/viirs"
        assert {m.data["uri"] for m in moved.until(6)} == {
            f"{folder}/{name}" for folder in (own, "/direct/viirs") for name in granules
        }
        assert {p.name: p.read_bytes() for p in (archive.folder / "direct/viirs").iterdir()} == granules
        assert {p.name: p.read_bytes() for p in own.iterdir()} == granules
        wait_for(lambda: not list((here.data / "in/viirs").iterdir()), "both have them: deleted here")
        folder = here.data / "archive/npp/20261122"
        assert {m.data["uri"] for m in archived.until(3)} == {f"{folder}/{name}" for name in granules}
        assert {p.name: p.read_bytes() for p in folder.iterdir()} == granules

        first, second, third = granules
        night = {"sensor": "viirs", "sunzen": 95.0, "start_time": datetime(2026, 11, 22, 12)}
        for uid, more in ((first, {}), (second, {"sunzen": 40.0}), (third, {"platform_name": "NOAA-21"})):
            items = {"platform_name": "Suomi-NPP", **night, **more, "uri": str(own / uid), "uid": uid}
            somebody.send(compose("/sdr/viirs", "file", items).encode())
        [told] = dispatched.until(1)
        assert told.data["uri"] == f"{here.data}/forecast/in/npp_202611221200_{first}"
        archived.until(6)
        assert [p.read_bytes() for p in (here.data / "forecast/in").iterdir()] == [granules[first]]
        somebody.close(0)

        for process in site.processes:
            process.stop()
        (here.data / "in/hrit").mkdir()
        os.utime(own / second, (0, 0))
        file = tmp_path / "clean.yaml"
        file.write_text(here.text("clean"))
        dry = site.tranship("dry", "clean", str(file), "--dry-run")
        assert dry.popen.wait(60) == 0
        assert second in dry.output
        assert {p.name for p in own.iterdir()} == set(granules)
        gone = here.ear("9030", "/deletion")
        wet = site.tranship("wet", "clean", str(file))
        assert [m.data for m in gone.until(1, "del")] == [{"uri": str(own / second)}]
        assert wet.popen.wait(60) == 0
        assert {p.name for p in own.iterdir()} == {first, third}
