"""`curve`, from our own files and from posttroll's settings; what is wrong with it is told, with the next move."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from donfig import Config

from servers.keys import Ring
from tranship.config import ConfigError, Overrides, Security, load, taken_on_trust
from tranship.config.curve import keys_of
from tranship.config.findings import Report
from tranship.config.legacy.posttroll import SETTINGS, posttrolls_curve
from tranship.config.load import convert
from tranship.wire.contract import Guard
from tranship.wire.keys import KeyFileError

CURVE = "curve: {secret_key_file: /k/me.key_secret, clients: /k/clients, server_key_file: /k/hub.key}\n"
SERVER = """\
role: server
journal: /j
publish: {port: 9010, bind: "*", security: curve}
chains:
  a: {origin: "/in/{n}", topic: /a, request: 9092}
"""
CLIENT = """\
role: client
journal: /j
chains:
  a: {providers: [hub:9010], topic: /a, destination: "file:///out/", publish: 9020}
"""
INI = "[a]\norigin = /in/{n}.dat\ntopic = /a\nrequest_port = 9092\n"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("POSTTROLL_ROOT_CONFIG", str(tmp_path / "etc"))


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return path


def read(tmp_path: Path, text: str, **how: Any) -> Any:
    return load(write(tmp_path, text), folders=taken_on_trust, **how).config


def told(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, text)
    return [str(finding).partition("c.yaml:")[2] for finding in error.value.findings]


def test_a_socket_is_closed_if_keys_are_named_or_it_says_so(tmp_path: Path) -> None:
    closed = read(tmp_path, CURVE + SERVER)
    assert closed.publish.security is Security.CURVE
    assert (closed.publish.guard, closed.chains["a"].request.guard) == (Guard.KEYS, Guard.IF_ANY)
    open_ = read(
        tmp_path, CURVE + SERVER.replace("request: 9092", "request: {port: 9092, security: loopback}")
    )
    assert open_.chains["a"].request.guard is Guard.NONE
    replays = read(tmp_path, CURVE + CLIENT.replace("9020}", "9020, replay: {port: 9021, security: curve}}"))
    assert replays.chains["a"].replay.guard is Guard.KEYS
    trusted = read(tmp_path, CURVE + SERVER.replace("curve}", "trusted-network}"))
    assert trusted.publish.guard is Guard.NONE


def test_the_port_of_the_command_line_is_as_closed_as_that_of_the_file(tmp_path: Path) -> None:
    config = read(tmp_path, CURVE + SERVER, overrides=Overrides(publish_port=9011))
    assert (config.publish.port, config.publish.guard) == (9011, Guard.KEYS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            SERVER,
            [
                "3: publish.security: is curve, and no keys are named; add a block `curve`, with `secret_key_file`"
                " and `clients` (docs/security.md)"
            ],
        ),
        (
            CURVE.replace("clients: /k/clients, ", "") + SERVER,
            [
                "1: curve.clients: is missing, and nobody could connect to publish; name a folder with their .key"
                " files, or let that socket say `security: loopback`",
                "1: curve.clients: is missing, and nobody could connect to chains.a.request; name a folder with their"
                " .key files, or let that socket say `security: loopback`",
            ],
        ),
        (
            CURVE.replace(", server_key_file: /k/hub.key", ", server_keys: {other: /k/hub.key}") + CLIENT,
            [
                "5: chains.a.providers: names hub, whose public key is not known; name its file in `curve`, as"
                " `server_key_file` or under `server_keys`"
            ],
        ),
        (
            CURVE.replace("/k/me.key_secret", "me/key") + SERVER,
            [
                "1: curve.secret_key_file: 'me/key' is no full path; begin it with /, or give a name of"
                " `LoadCredential=`"
            ],
        ),
        (
            CURVE.replace("}", ", client_addresses: [hub]}") + SERVER,
            ["1: curve.client_addresses: 'hub' is no IP address; give addresses, not names"],
        ),
        (
            CURVE.replace("clients", "client") + SERVER,
            ["1: curve.client: is no option; did you mean `clients`?"],
        ),
        (
            "curve: {}\n" + SERVER,
            ["1: curve.secret_key_file: is missing; give a full path, or a name given by"],
        ),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: str, expected: list[str]) -> None:
    found = told(tmp_path, text)
    assert len(found) == len(expected), found
    for line, begin in zip(found, expected, strict=True):
        assert line.startswith(begin)


def test_servers_may_have_keys_of_their_own_or_none(tmp_path: Path) -> None:
    ring = Ring(tmp_path / "k").make("me", "hub", "other")
    names = f"{{hub: {ring.public('hub')}, 'other:9011': {ring.public('other')}, other: plain}}"
    curve = (
        f"curve: {{secret_key_file: {ring.secret('me')}, clients: {ring.clients}, server_keys: {names}}}\n"
    )
    keys = keys_of(read(tmp_path, curve + CLIENT).curve)
    assert keys is not None
    assert keys.server_at("tcp://hub:1").text == ring.text("hub")
    assert keys.server_at("tcp://other:9011").text == ring.text("other")
    assert keys.server_at("tcp://other:9010") is None


def test_keys_may_come_from_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = Ring(tmp_path / "k").make("me")
    curve = read(tmp_path, "curve: {secret_key_file: me.key_secret, clients: /k}\n" + SERVER).curve
    with pytest.raises(KeyFileError, match="CREDENTIALS_DIRECTORY is not set"):
        keys_of(curve)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(ring.folder))
    keys = keys_of(curve)
    assert keys is not None
    assert keys.own.public.text == ring.text("me")


# ---- posttroll's settings

ENVIRONMENT = {
    "POSTTROLL_BACKEND": "secure_zmq",
    "POSTTROLL_SERVER_SECRET_KEY_FILE": "/k/me.key_secret",
    "POSTTROLL_CLIENTS_PUBLIC_KEYS_DIRECTORY": "/k/clients",
    "POSTTROLL_CLIENT_SECRET_KEY_FILE": "/k/me.key_secret",
    "POSTTROLL_SERVER_PUBLIC_KEY_FILE": "/k/hub.key",
}


@pytest.fixture
def secure(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("secure")
def test_an_old_file_is_closed_by_them_and_converted_with_them(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, INI), folders=taken_on_trust)
    config = loaded.config
    assert config.curve.model_dump(exclude_defaults=True) == {
        "secret_key_file": "/k/me.key_secret",
        "clients": Path("/k/clients"),
        "server_key_file": "/k/hub.key",
    }
    assert (config.publish.guard, config.chains["a"].request.guard) == (Guard.KEYS, Guard.KEYS)
    assert config.publish.bind == "*"
    assert not [warning for warning in loaded.warnings if "publishes on" in warning.problem]
    text = convert(tmp_path / "c.yaml")
    assert "secret_key_file: /k/me.key_secret" in text
    assert "security: curve" in text
    assert "trusted-network" not in text
    assert read(tmp_path, text) == config


@pytest.mark.usefixtures("secure")
def test_a_file_of_ours_takes_them_unless_it_has_keys_or_an_empty_block(tmp_path: Path) -> None:
    own = SERVER.replace("curve}", "trusted-network}")
    assert read(tmp_path, own).curve.server_key_file == "/k/hub.key"
    assert read(tmp_path, own).publish.guard is Guard.NONE  # it says so itself
    assert read(tmp_path, CURVE.replace("hub", "other") + own).curve.server_key_file == "/k/other.key"
    assert read(tmp_path, "curve:\n" + own).curve is None


def test_without_the_back_end_they_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for backend in ("unsecure_zmq", None):
        monkeypatch.setenv("POSTTROLL_BACKEND", backend) if backend else monkeypatch.delenv(
            "POSTTROLL_BACKEND"
        )
        config = read(tmp_path, INI)
        assert (config.curve, config.publish.security) == (None, Security.TRUSTED_NETWORK)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"POSTTROLL_BACKEND": "safe_zmq"}, "POSTTROLL_BACKEND: 'safe_zmq' is no back-end"),
        (
            {"POSTTROLL_SERVER_SECRET_KEY_FILE": None, "POSTTROLL_CLIENT_SECRET_KEY_FILE": None},
            "POSTTROLL_SERVER_SECRET_KEY_FILE: is missing, and POSTTROLL_BACKEND is secure_zmq",
        ),
        ({"POSTTROLL_AUTHORIZED_CLIENT_ADDRESSES": "hub"}, "'hub' is no IP address"),
        ({"POSTTROLL_CLIENTS_PUBLIC_KEYS_DIRECTORY": None}, "CLIENTS_PUBLIC_KEYS_DIRECTORY: is missing"),
    ],
)
@pytest.mark.usefixtures("secure")
def test_what_is_wrong_with_them_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str | None], expected: str
) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    with pytest.raises(ConfigError, match=expected):
        read(tmp_path, INI)


@pytest.mark.parametrize(
    "addresses", ["['192.0.2.1', '192.0.2.2']", "192.0.2.1 192.0.2.2", "192.0.2.1,192.0.2.2"]
)
@pytest.mark.usefixtures("secure")
def test_authorized_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, addresses: str) -> None:
    monkeypatch.setenv("POSTTROLL_AUTHORIZED_CLIENT_ADDRESSES", addresses)
    assert read(tmp_path, INI).curve.client_addresses == ("192.0.2.1", "192.0.2.2")


def test_they_are_read_from_where_posttroll_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """donfig, which posttroll reads them by, is the oracle: file by file, and the environment over all."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "home/.config/posttroll").mkdir(parents=True)
    (tmp_path / "etc/posttroll.yaml").write_text(
        "backend: secure_zmq\nserver-secret-key-file: /etc/s\nclient_secret_key_file: /etc/c\n"
        "clients_public_keys_directory: /etc/clients\nserver_public_key_file: /etc/h\n"
    )
    (tmp_path / "etc/notes.txt").write_text("backend: [")
    (tmp_path / "home/.config/posttroll/a.yml").write_text("client_secret_key_file: /home/c\n")
    (tmp_path / "home/.config/posttroll/b.json").write_text(
        '{"clients_public_keys_directory": "/home/clients"}'
    )
    (tmp_path / "one.yaml").write_text(
        "authorized_client_addresses: [192.0.2.1]\nserver_public_key_file: /one/h\n"
    )
    monkeypatch.setenv("POSTTROLL_CONFIG", str(tmp_path / "one.yaml"))
    monkeypatch.setenv("POSTTROLL_SERVER_PUBLIC_KEY_FILE", "/environment/h")
    theirs = Config("posttroll")
    report = Report("c")
    ours = posttrolls_curve(report, os.environ)
    assert not report.errors
    assert ours == {new: theirs[old] for old, new in SETTINGS.items()}
    (tmp_path / "etc/posttroll.yaml").write_text("backend: [")
    posttrolls_curve(report, os.environ)
    assert [error.key for error in report.errors][:1] == [str(tmp_path / "etc/posttroll.yaml")]


# ---- commands


def tranship(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tranship", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_check_looks_at_the_files_of_keys(tmp_path: Path) -> None:
    ring = Ring(tmp_path / "k").make("me")
    curve = f"curve: {{secret_key_file: {ring.secret('me')}, clients: {ring.clients}}}\n"
    (tmp_path / "in").mkdir()
    path = write(tmp_path, curve + SERVER.replace("/in/", f"{tmp_path}/in/"))
    assert tranship("check", path).returncode == 0
    (ring.clients / "bad.key").write_text("no key")
    done = tranship("check", path)
    assert done.returncode == 78
    assert f"{ring.clients}/bad.key: holds no public key" in done.stderr
    ring.secret("me").chmod(0o644)
    done = tranship("check", path)
    assert (done.returncode, "chmod 600" in done.stderr) == (78, True)


def test_keys_are_made_and_never_overwritten(tmp_path: Path) -> None:
    made = tranship("keys", "sat", "-d", tmp_path)
    assert made.returncode == 0
    assert (tmp_path / "sat.key_secret").stat().st_mode & 0o777 == 0o600
    secret = (tmp_path / "sat.key_secret").read_text()
    assert secret.split('"')[3] not in made.stdout + made.stderr
    again = tranship("keys", "sat", "-d", tmp_path)
    assert (again.returncode, "is there already" in again.stderr) == (69, True)
    assert (tmp_path / "sat.key_secret").read_text() == secret
    assert tranship("keys", "a/b").returncode == 2
