"""The files of Trollmoves' whole family, converted, run: one file goes through all of them.

move -> server -> mirror -> client -> dispatcher -> fetch; clean takes it away at the end.
"""

import bz2
import os
from contextlib import closing
from pathlib import Path

import zmq

from servers.ftp import PASSWORD, USER, pyftpd
from stage import Site, free_port, wait_for
from tranship.config import Overrides
from tranship.config.load import ROLES, convert
from tranship.wire.messages import compose

OLD = {
    "move": """\
[m]
origin = {folder}/in/{{name}}.dat.bz2
destinations = {folder}/incoming/
compression = bzip
working_directory = {folder}/work
topic = /moved
delete = True
""",
    "server": """\
[s]
origin = {folder}/incoming/{{name}}.dat
topic = /1b
info = sensor=seviri
request_port = {request}
request_address = 127.0.0.1
""",
    "mirror": """\
[m]
providers = 127.0.0.1:{server}
client_topic = /1b
topic = /1b
origin = {folder}/incoming/{{name}}.dat
destination = file://{folder}/copies/
request_port = {mirror_request}
request_address = 127.0.0.1
delete = True
remove_delay = 0
""",
    "client": """\
[c]
providers = 127.0.0.1:{mirror}
destination = file://{folder}/out/{{sensor}}/
topic = /1b
publish_port = {client}
nameservers = False
sensor = seviri:SEVIRI|x:y
""",
    "dispatcher": """\
posttroll_subscriber: {{subscribe_addresses: ["tcp://127.0.0.1:{client}"], nameserver: false}}
far:
  host: ftp://127.0.0.1:{ftp}
  directory: /{{instrument}}
  filepattern: "{{name}}.out"
  publish_topic: /dispatched
  aliases: {{sensor: [{{_alias_name: instrument, SEVIRI: imager}}]}}
  dispatch_configs:
    - topics: [/1b]
      conditions: [{{sensor: SEVIRI}}]
""",
    "fetch": """\
destination: {folder}/fetched/{{name}}
subscriber_config: {{addresses: ["tcp://127.0.0.1:{somebody}"], nameserver: false, topics: [/far]}}
publisher_config: {{name: fetched, port: {fetch}, nameservers: false}}
""",
    "clean": """\
[c]
base_dir = {folder}/out/seviri
templates = *.dat
stat_time_method = st_mtime
days = 1
""",
}


def test_a_file_goes_through_all_converted_roles(tmp_path: Path) -> None:
    assert OLD.keys() == set(ROLES)
    names = ("request", "server", "mirror_request", "mirror", "client", "dispatcher", "fetch", "move")
    ports = {name: free_port() for name in names}
    with Site(tmp_path) as site, pyftpd() as far, closing(site._context.socket(zmq.PUB)) as somebody:
        ports |= {"ftp": far.port, "somebody": somebody.bind_to_random_port("tcp://127.0.0.1")}
        for name in ("in", "work", "copies", "out"):
            (tmp_path / name).mkdir()
        (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
        (tmp_path / ".netrc").chmod(0o600)
        environment = {"HOME": str(tmp_path), "STATE_DIRECTORY": str(tmp_path)}
        published = {"move", "server", "mirror", "dispatcher"}
        for role, text in OLD.items():
            old, new = tmp_path / f"{role}.old", tmp_path / f"{role}.yaml"
            old.write_text(text.format(folder=tmp_path, **ports))
            said = Overrides(publish_port=ports[role] if role in published else None)
            new.write_text(convert(old, role, overrides=said))
        ears = {role: site.ear(ports[role]) for role in (*published, "client", "fetch")}
        for role in OLD.keys() - {"clean"}:
            site.tranship(role, role, str(tmp_path / f"{role}.yaml"), **environment)
        for process in site.processes:
            process.until(" ready")
        numbers = iter(range(1000))

        def through() -> bool:
            """Whether a file came to the end; whoever began to listen late hears of the next one."""
            (tmp_path / "in" / f"f{next(numbers)}.dat.bz2").write_bytes(bz2.compress(b"content"))
            try:
                return bool(ears["dispatcher"].until(1, deadline=1))
            except AssertionError:
                return False

        wait_for(through, "a file came through all of them", 60)
        [told, *_] = ears["dispatcher"].of("file")
        name = str(told.data["name"])
        assert (told.data["sensor"], told.data["uri"]) == ("SEVIRI", f"/imager/{name}.out")
        assert (far.folder / f"imager/{name}.out").read_bytes() == b"content"
        out = tmp_path / "out/seviri" / f"{name}.dat"
        assert out.read_bytes() == b"content"
        [via] = [m for m in ears["client"].of("file") if m.data["uid"] == out.name]
        assert via.data["origin"] == f"127.0.0.1:{ports['mirror_request']}"
        wait_for(lambda: not list((tmp_path / "copies").iterdir()), "the mirror's copies are deleted")
        assert not list((tmp_path / "work").iterdir())

        def fetched() -> bool:
            uri = f"ftp://127.0.0.1:{far.port}/imager/{name}.out"
            somebody.send(compose("/far", "file", {"uri": uri, "uid": f"{name}.out", "name": name}).encode())
            return bool(ears["fetch"].of("file"))

        wait_for(fetched, "the fetcher has it, too")
        assert (tmp_path / "fetched" / name / f"{name}.out").read_bytes() == b"content"
        os.utime(out, (0, 0))
        clean = site.tranship("clean", "clean", str(tmp_path / "clean.yaml"), **environment)
        assert clean.popen.wait(60) == 0
        assert not out.exists()
        assert PASSWORD not in "".join(process.output for process in site.processes)
