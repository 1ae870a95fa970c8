"""A converted file is the old one in other words: the same options, role by role; and it runs."""

import subprocess
import sys
from pathlib import Path

import pytest

from stage import Site
from tranship.config import ConfigError, Overrides, load, taken_on_trust
from tranship.config.load import convert

HERE = Path(__file__).parents[2]
LEGACY = sorted((HERE / "config/legacy").iterdir())

SERVER = """[DEFAULT]
info = odd="quoted"; number=12;like=1e3;switch=true;list=1,b:c,#d;empty=;colon=a: b
[a b]
origin = /in/{n}.dat
topic = /a
request_port = 9092
[c]
origin = /in c/{n:_<6s}.dat
topic = /ä
request_port = 9093
station = no
compression = xrit
prog = /opt/x RIT
working_directory = /work
delete = 1
connection_parameters__client_kwargs__endpoint_url = http://h:1
connection_parameters__client_kwargs__verify = False
connection_parameters__connection_uptime = 0012
colour = red
"""

CLIENT = """[a]
providers = b:9010/x c:9011
topic = /a
destination = ftp://h/out/{start_time:%Y%m%d}/
login = u:pa ss'w"ö#: {x}
publish_port = 9020
sensor = 1:2|true:no
platform = 010
nameservers = h1 h2
compression = tar
delete = True
"""

MIRROR = """[a]
providers = b:9010
client_topic = /a
destination = /out
publish_port = 9020
request_port = 9093
"""


def same(file: Path, tmp_path: Path, **how: object) -> str:
    text = convert(file, **how)
    path = tmp_path / "new" / f"{file.stem}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.touch(0o600)
    path.write_text(text)
    before = load(file, folders=taken_on_trust, **how)
    after = load(path, folders=taken_on_trust)
    assert type(before.config) is type(after.config)
    assert before.config == after.config
    return text


@pytest.mark.parametrize("file", LEGACY, ids=[file.name for file in LEGACY])
def test_every_example_of_the_old_kind(tmp_path, file):
    assert same(file, tmp_path).startswith("role: ")


DISPATCHER = """t:
  directory: /out
  dispatch_configs:
  - topics: [/a]
    conditions: [{}, {sensor: [~, yes, 'no'], empty: ~, odd: "\\x7f\\u2028\\U0001F600"}]
    aliases: {sensor: [{_alias_name: x, a: b}, {}]}
"""


@pytest.mark.parametrize(
    "text", [SERVER, CLIENT, MIRROR, DISPATCHER], ids=["server", "client", "mirror", "dispatcher"]
)
def test_odd_values_stay_what_they_are(tmp_path, text):
    file = tmp_path / "odd.ini"
    file.write_text(text)
    same(file, tmp_path)


def test_what_is_told_of_the_old_file_stands_where_it_belongs(tmp_path):
    file = tmp_path / "a.ini"
    file.write_text(SERVER.replace("[a b]", "[a]"))
    lines = same(file, tmp_path, overrides=Overrides(publish_port=9999)).splitlines()
    assert "  port: 9999" in lines
    at = lines.index("  c:")
    assert lines[at - 1].startswith("  # line 7: port 9093 takes requests on all interfaces")
    assert any("colour" in line or "is read by nobody" in line for line in lines)
    assert not any("write the file in YAML" in line for line in lines)


def test_what_can_not_be_converted(tmp_path):
    with pytest.raises(ConfigError, match="is no file of Trollmoves"):
        convert(HERE / "config/server.yaml")
    file = tmp_path / "broken.ini"
    file.write_text(SERVER.replace("request_port = 9092\n", "request_port = x\n"))
    with pytest.raises(ConfigError, match=r"broken\.ini:6: \[a b\] request_port"):
        convert(file)


def test_converted_files_run(tmp_path):
    """The old server and client, converted by the command, started by it: one file arrives and is told."""
    with Site(tmp_path) as site:
        (tmp_path / "server.ini").write_text(
            f"[hrit]\norigin = {site.incoming}/{{name}}.dat\ntopic = {site.topic}\nrequest_port = {site.request_port}\n"
            "request_address = 127.0.0.1\ninfo = sensor=seviri\n"
        )
        (tmp_path / "client.ini").write_text(
            f"[hrit]\nproviders = 127.0.0.1:{site.publish_port}\ntopic = {site.topic}\n"
            f"destination = file://{site.outgoing}\npublish_port = {site.client_port}\nnameservers = False\n"
            "sensor = seviri:SEVIRI|x:y\n"
        )
        command = [sys.executable, "-m", "tranship", "convert"]
        for name, *flags in (("server", "-p", str(site.publish_port)), ("client",)):
            ini, file = tmp_path / f"{name}.ini", tmp_path / f"{name}.yaml"
            done = subprocess.run(
                [*command, str(ini), *flags], capture_output=True, text=True, timeout=60, check=True
            )
            file.write_text(done.stdout)
        ear = site.ear(site.client_port, site.topic)
        for name in ("server", "client"):
            state = {"STATE_DIRECTORY": str(tmp_path)}
            site.tranship(name, name, str(tmp_path / f"{name}.yaml"), **state).until(" ready")
        site.drop("a.dat", b"content")
        (message,) = ear.until(1, "file")
        assert message.data["sensor"] == "SEVIRI"
        assert site.delivered() == {"a.dat": b"content"}
