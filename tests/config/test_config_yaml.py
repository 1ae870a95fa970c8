"""YAML in, typed options out."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from tranship.config import (
    Checksum,
    Closed,
    Companion,
    ConfigError,
    NameServers,
    Overrides,
    Parameters,
    Provider,
    Security,
    Socket,
    Stable,
    Watch,
    default_journal,
    load,
    taken_on_trust,
)

SERVER = """
role: server
name: reception
journal: /var/lib/tranship/reception.journal
publish: {port: 9011, bind: 192.0.2.7, security: trusted-network}
heartbeat: 1 min
nameservers: [ns1, 192.0.2.9]
chains:
  hrit:
    origin: /in/{platform}_{orbit:05d}/{name}.h5
    topic: /1b/hrit
    info: {sensor: seviri, sublon: 0, exact: 0.5, cloudy: true, country: no, orbit: 007, list: [1, a], quoted: "1"}
    station: kiruna
    request: {port: 9092, bind: "*", security: trusted-network}
    request_address: reception.example
    allow: ["file:///data/out/**", "sftp://*.example:2222/in/*/", "s3://bucket/**"]
    settle: {companion: "{name}.ok"}
    announce_empty_after: 10 min
    watch: inotify
    poll_interval: 200 ms
    scan_interval: 5 min
    backlog: no
    checksum: sha256
    delete: yes
    remove_delay: 1 h
    connection_parameters: {timeout: 10, client_kwargs: {verify: false, endpoint_url: "https://s3.example"}}
    transfers: 8
"""

CLIENT = """
role: client
name: archive
journal: /var/lib/tranship/archive.journal
chains:
  hrit:
    providers: [a.example:9010, "tcp://[2001:db8::1]:9011/1b/other"]
    topic: /1b/hrit
    destination: sftp://archive.example:2222/data/{platform_name}/{start_time:%Y%m%d}/
    login: "transfer:pass:word"
    publish: {port: 9020, bind: "::1"}
    nameservers: multicast
    heartbeat: no
    heartbeat_alarm_scale: 3.5
    processing_delay: 200 ms
    req_timeout: 2
    transfer_req_timeout: 1 min
    create_target_directory: "False"
    ftp_root: /srv/ftp
    backup_targets: spare1 spare2
    replace: {format: HRIT, platform_name: {MSG4: Meteosat-11}}
    in_flight: 16
"""


def write(tmp_path, text, name="c.yaml"):
    path = tmp_path / name
    path.write_text(text)
    path.chmod(0o600)
    return path


def server(tmp_path, chain="", top=""):
    """A loaded server with one chain, of which everything but `chain` is the least there must be."""
    text = f"""role: server
{top}
chains:
  a:
    origin: /in/{{name}}.dat
    topic: /a
    request: 9092
{chain}
"""
    return load(write(tmp_path, text), "server", folders=taken_on_trust)


def test_every_option_of_a_server(tmp_path):
    loaded = load(write(tmp_path, SERVER), folders=taken_on_trust)
    assert loaded.warnings == ()
    config = loaded.config
    assert (config.role, config.name, config.journal) == (
        "server",
        "reception",
        Path("/var/lib/tranship/reception.journal"),
    )
    assert config.publish == Socket(port=9011, bind="192.0.2.7", security=Security.TRUSTED_NETWORK)
    assert config.publish.address == "tcp://192.0.2.7:9011"
    assert config.heartbeat == timedelta(minutes=1)
    assert config.nameservers == NameServers(("ns1", "192.0.2.9"))
    chain = config.chains["hrit"]
    assert chain.origin == "/in/{platform}_{orbit:05d}/{name}.h5"
    assert (chain.topic, chain.station, chain.request_address) == ("/1b/hrit", "kiruna", "reception.example")
    assert chain.info == {
        "sensor": "seviri",
        "sublon": 0,
        "exact": 0.5,
        "cloudy": True,
        "country": "no",
        "orbit": "007",
        "list": (1, "a"),
        "quoted": "1",
    }
    assert chain.request.address == "tcp://*:9092"
    assert chain.allow == ("file:///data/out/**", "sftp://*.example:2222/in/*/", "s3://bucket/**")
    assert chain.settle == Companion("{name}.ok")
    assert chain.settle.name_for("a.dat") == "a.dat.ok"
    assert chain.announce_empty_after == timedelta(minutes=10)
    assert (chain.watch, chain.checksum) == (Watch.INOTIFY, Checksum.SHA256)
    assert (chain.poll_interval, chain.scan_interval) == (timedelta(milliseconds=200), timedelta(minutes=5))
    assert (chain.backlog, chain.delete, chain.remove_delay) == (False, True, timedelta(hours=1))
    assert chain.connection_parameters.plain() == {
        "timeout": 10,
        "client_kwargs": {"verify": False, "endpoint_url": "https://s3.example"},
    }
    assert chain.transfers == 8


def test_every_option_of_a_client(tmp_path):
    loaded = load(write(tmp_path, CLIENT))
    assert loaded.warnings == ()
    config = loaded.config
    assert (config.role, config.name, config.journal.name) == ("client", "archive", "archive.journal")
    chain = config.chains["hrit"]
    plain, other = chain.providers
    assert (plain, plain.address) == (Provider("a.example", 9010), "tcp://a.example:9010")
    assert (other.topic, other.address) == ("/1b/other", "tcp://[2001:db8::1]:9011")
    assert (chain.topic_of(plain), chain.topic_of(other)) == ("/1b/hrit", "/1b/other")
    assert chain.destination == "sftp://archive.example:2222/data/{platform_name}/{start_time:%Y%m%d}/"
    assert chain.login.get_secret_value() == "transfer:pass:word"
    assert chain.publish.address == "tcp://[::1]:9020"
    assert chain.nameservers.multicast
    assert chain.heartbeat is None
    assert chain.heartbeat_alarm_scale == 3.5
    assert chain.processing_delay == timedelta(milliseconds=200)
    assert (chain.req_timeout, chain.transfer_req_timeout) == (timedelta(seconds=2), timedelta(minutes=1))
    assert chain.create_target_directory is False
    assert chain.ftp_root == Path("/srv/ftp")
    assert chain.backup_targets == ("spare1", "spare2")
    assert chain.replace == {"format": "HRIT", "platform_name": {"MSG4": "Meteosat-11"}}
    assert chain.in_flight == 16


def test_what_holds_if_nothing_is_given(tmp_path):
    chain = server(tmp_path).config.chains["a"]
    assert chain.request == Socket(port=9092, bind="127.0.0.1", security=None)
    assert (chain.allow, chain.settle, chain.delete, chain.checksum) == ((), Closed(), False, Checksum.XXH128)
    assert (chain.remove_delay, chain.announce_empty_after) == (timedelta(seconds=30), None)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("yes", True),
        ("no", False),
        ("on", True),
        ("off", False),
        ("True", True),
        ('"False"', False),
        ("'no'", False),
        ("0", False),
    ],
)
def test_yes_and_no_however_written(tmp_path, written, read):
    assert server(tmp_path, f"    delete: {written}").config.chains["a"].delete is read


@pytest.mark.parametrize("text", ["no", "12:30", "010", "1e3", "null_and_void", "2024-01-01", "0x1F", "yes"])
def test_text_stays_text(tmp_path, text):
    assert (
        server(tmp_path, f"    station: {text}\n    info: {{item: {text}}}").config.chains["a"].station
        == text
    )


def test_numbers_are_decimal(tmp_path):
    config = server(tmp_path, "    transfers: 010", "publish: 09010").config
    assert (config.chains["a"].transfers, config.publish.port) == (10, 9010)


def test_a_topic_may_be_called_no(tmp_path):
    loaded = load(
        write(
            tmp_path, "role: client\nchains: {a: {providers: [b:1], topic: no, destination: /d/, publish: 1}}"
        ),
        "client",
    )
    assert loaded.config.chains["a"].topic == "/no"


def test_empty_topic_is_everything(tmp_path):
    text = 'role: client\nchains: {a: {providers: [b:1], topic: "", destination: /d/, publish: 1}}'
    chain = load(write(tmp_path, text), "client").config.chains["a"]
    assert chain.topic_of(chain.providers[0]) == ""
    assert chain.destination == "file:///d/"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("closed", Closed()),
        ("{stable: 5 s}", Stable(timedelta(seconds=5))),
        ('{companion: "{stem}.xml"}', Companion("{stem}.xml")),
    ],
)
def test_completeness(tmp_path, written, read):
    assert server(tmp_path, f"    settle: {written}").config.chains["a"].settle == read


def test_defaults_hold_for_every_chain_that_says_nothing_else(tmp_path):
    text = """
role: server
defaults:
  station: kiruna
  request: {bind: 192.0.2.1, security: trusted-network}
  info: {sensor: seviri, level: 1}
  settle: {stable: 5 s}
  allow: [file:///out/**]
chains:
  a: {origin: "/in/a{n}", topic: /a, request: 9092, info: {level: 2}}
  b: {origin: "/in/b{n}", topic: /b, request: {port: 9093}, station: oslo, settle: {companion: "{name}.ok"}}
"""
    a, b = load(write(tmp_path, text), "server", folders=taken_on_trust).config.chains.values()
    assert (a.station, b.station) == ("kiruna", "oslo")
    assert (a.request.address, b.request.address) == ("tcp://192.0.2.1:9092", "tcp://192.0.2.1:9093")
    assert (a.info, b.info) == ({"sensor": "seviri", "level": 2}, {"sensor": "seviri", "level": 1})
    assert (a.settle, b.settle) == (Stable(timedelta(seconds=5)), Companion("{name}.ok"))


def test_anchors_and_merges(tmp_path):
    text = """
role: server
chains:
  a: &a {origin: "/in/a{n}", topic: /a, request: 9092, allow: [file:///out/**]}
  b:
    <<: *a
    origin: "/in/b{n}"
    request: 9093
"""
    b = load(write(tmp_path, text), "server", folders=taken_on_trust).config.chains["b"]
    assert (b.topic, b.origin, b.request.port) == ("/a", "/in/b{n}", 9093)


def test_options_are_frozen_and_compare_by_value(tmp_path):
    first, again = server(tmp_path).config, server(tmp_path).config
    other = server(tmp_path, "    transfers: 5").config
    assert first == again
    assert first.chains["a"] == again.chains["a"]
    assert first.chains["a"] != other.chains["a"]
    with pytest.raises(ValidationError, match="frozen"):
        first.chains["a"].delete = True


def test_options_can_be_written_as_json(tmp_path):
    for text in (SERVER, CLIENT):
        written = load(write(tmp_path, text), folders=taken_on_trust).config.model_dump_json()
        assert "pass:word" not in written
        assert "s3.example" not in written


def test_secrets_compare_but_do_not_show(tmp_path):
    def chain(secret):
        return server(
            tmp_path,
            f"    allow: s3://b/**\n    connection_parameters: {{config_kwargs: {{user_agent: {secret}}}}}",
        ).config.chains["a"]

    assert chain("planted-one") == chain("planted-one")
    assert chain("planted-one") != chain("planted-two")
    assert "planted" not in repr(chain("planted-one"))
    assert "planted" not in str(chain("planted-one").connection_parameters["config_kwargs"])
    assert "planted" not in chain("planted-one").model_dump_json()
    assert chain("planted-one").connection_parameters == Parameters(
        {"config_kwargs": {"user_agent": "planted-one"}}
    )


def test_the_command_line_wins(tmp_path):
    path = write(tmp_path, SERVER)
    config = load(
        path,
        "server",
        overrides=Overrides(publish_port=0, watch=Watch.POLL, backlog=True),
        folders=taken_on_trust,
    ).config
    assert config.publish == Socket(port=0, bind="192.0.2.7", security=Security.TRUSTED_NETWORK)
    assert (config.chains["hrit"].watch, config.chains["hrit"].backlog) == (Watch.POLL, True)
    assert config.chains["hrit"].checksum is Checksum.SHA256


@pytest.mark.parametrize(
    ("environment", "journal"),
    [
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a/station.journal"),
        ({"XDG_STATE_HOME": "/home/x/state"}, "/home/x/state/tranship/station.journal"),
        ({"HOME": "/home/x"}, "/home/x/.local/state/tranship/station.journal"),
    ],
)
def test_the_journal_has_its_place(monkeypatch, environment, journal):
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert default_journal(Path("/etc/tranship/station.yaml")) == Path(journal)


def test_the_role_may_be_left_to_the_command(tmp_path):
    path = write(tmp_path, SERVER.replace("role: server", ""))
    assert load(path, "server", folders=taken_on_trust).config.role == "server"
    with pytest.raises(ConfigError, match="role: is missing; begin the file with `role: server`"):
        load(path, folders=taken_on_trust)


def test_a_watched_folder_is_the_last_one_without_fields(tmp_path):
    (tmp_path / "in").mkdir()
    text = f"role: server\nchains: {{a: {{origin: '{tmp_path}/in/{{day}}/{{n}}', topic: /a, request: 9092}}}}"
    load(write(tmp_path, text), "server")
    os.rmdir(tmp_path / "in")
    with pytest.raises(ConfigError, match=f"there is no folder {tmp_path}/in; make it"):
        load(write(tmp_path, text), "server")


def test_a_login_of_its_own_file(tmp_path):
    login = tmp_path / "login"
    login.write_text("user:planted-secret\n")
    login.chmod(0o644)
    chain = f"{{providers: [b:1], topic: /a, destination: /d/, publish: 1, login_file: {login}}}"
    text = f"role: client\nchains: {{a: {chain}}}"
    loaded = load(write(tmp_path, text), "client")
    assert loaded.config.chains["a"].login.get_secret_value() == "user:planted-secret"
    assert [str(warning) for warning in loaded.warnings] == [
        f"{tmp_path}/c.yaml:2: chains.a.login_file: everybody on this host may read {login}; chmod o-rwx {login}"
    ]
