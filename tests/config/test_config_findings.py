"""What is wrong in a file is told all at once: file, line, key, problem, next move."""

import os
import tempfile
from pathlib import Path

import pytest

from tranship.config import ConfigError, load, on_disk, taken_on_trust


def told(path, role=None):
    """Every line that is told about the file (errors, or warnings if there are none), without the file's name."""
    try:
        loaded = load(path, role, folders=taken_on_trust)
    except ConfigError as error:
        return [line.removeprefix(str(path)) for line in str(error).splitlines()]
    return [f"warning{str(finding).removeprefix(str(path))}" for finding in loaded.warnings]


def write(tmp_path, text, name="c.yaml"):
    path = tmp_path / name
    path.write_text(text)
    path.chmod(0o600)
    return path


SERVER = """role: server
chains:
  a:
    origin: /in/{n}.dat
    topic: /a
    request: 9092
    allow: [file:///out/**]
"""
CLIENT = """role: client
chains:
  a:
    providers: [b:9010]
    topic: /a
    destination: file:///out/
    publish: 9020
"""

# what is put in the place of a line of the file above (or behind it), and what is told
SERVER_CASES = {
    "an unknown key": (
        "    orign: /x\n",
        [":8: chains.a.orign: is no option; did you mean `origin`?"],
    ),
    "a key that is near to nothing": (
        "    colour: red\n",
        [
            ":8: chains.a.colour: is no option; there are allow, announce_empty_after, backlog, checksum, "
            "connection_parameters, delete, filesystem, info, listen, origin, poll_interval, remove_delay, request, "
            "request_address, scan_interval, settle, silence, station, topic, transfers, unpack or watch",
        ],
    ),
    "a key of its clients": (
        "    retry: {longest: 1 min}\n",
        [
            ":8: chains.a.retry: is no option here; it is an option of clients: what a server moves for one, "
            "that one has tried again"
        ],
    ),
    "a key of another block": (
        "    heartbeat: 3 s\n",
        [":8: chains.a.heartbeat: is no option here; it belongs to the top of the file"],
    ),
    "a key that belongs to several blocks": (
        "    bind: 127.0.0.1\n",
        [":8: chains.a.bind: is no option here; it belongs to `publish` or `request` of each chain"],
    ),
    "a key of Trollmoves": (
        "    request_port: 9092\n",
        [":8: chains.a.request_port: is no option here; it is called `request.port` now"],
    ),
    "no number": (
        "    transfers: many\n",
        [":8: chains.a.transfers: 'many' does not fit; give a number from 1"],
    ),
    "a number that is too small": (
        "    transfers: 0\n",
        [":8: chains.a.transfers: '0' does not fit; give a number from 1"],
    ),
    "no yes or no": (
        "    delete: maybe\n",
        [":8: chains.a.delete: 'maybe' does not fit; give yes or no"],
    ),
    "no duration": (
        "    remove_delay: soon\n",
        [":8: chains.a.remove_delay: 'soon' does not fit; give a duration like 30 s, 5 min, 200 ms"],
    ),
    "a negative duration": (
        "    remove_delay: -3 s\n",
        [":8: chains.a.remove_delay: '-3 s' does not fit; give a duration like 30 s, 5 min, 200 ms"],
    ),
    "an interval of nothing": (
        "    scan_interval: 0\n",
        [":8: chains.a.scan_interval: '0' does not fit; give a duration above 0, like 30 s, 5 min, 200 ms"],
    ),
    "a word that is none of those": (
        "    watch: inotfy\n",
        [":8: chains.a.watch: 'inotfy' does not fit; give auto, inotify or poll"],
    ),
    "a list where a text is wanted": (
        "    station: [a, b]\n",
        [":8: chains.a.station: a list does not fit; give a text"],
    ),
    "a text where a block is wanted": (
        "    info: sensor=seviri\n",
        [":8: chains.a.info: 'sensor=seviri' does not fit; give a block of `key: value`"],
    ),
    "a key without a value": (
        "    station:\n",
        [":8: chains.a.station: nothing does not fit; give a text"],
    ),
    "a secret that is no block": (
        "    connection_parameters: planted-secret\n",
        [
            ":8: chains.a.connection_parameters: what is given does not fit; give a block of options of the movers"
        ],
    ),
    "a key twice": (
        "    topic: /b\n",
        [":8: chains.a.topic: stands here twice (first in line 5); keep one of the two"],
    ),
    "a rule that is none": (
        "    settle: soon\n",
        [
            ":8: chains.a.settle: 'soon' does not fit; "
            'give `closed`, `{stable: 5 s}` or `{companion: "{name}.ok"}`'
        ],
    ),
    "two rules": (
        '    settle: {stable: 5 s, companion: "{name}.ok"}\n',
        [
            ":8: chains.a.settle: a block of options does not fit; "
            'give `closed`, `{stable: 5 s}` or `{companion: "{name}.ok"}`'
        ],
    ),
    "a companion of everything": (
        "    settle: {companion: all.ok}\n",
        [
            ":8: chains.a.settle: 'all.ok' names no companion; "
            'make its name of {name} or {stem}: "{name}.ok"'
        ],
    ),
    "a relative origin": (
        ("/in/{n}.dat", "in/{n}.dat"),
        [":4: chains.a.origin: 'in/{n}.dat' is no full path; begin it with /"],
    ),
    "an origin without files": (
        ("/in/{n}.dat", "/in/{n}/"),
        [
            ":4: chains.a.origin: '/in/{n}/' names no file; end it with a pattern for the files' names, without `..`"
        ],
    ),
    "an origin that climbs": (
        ("/in/{n}.dat", "/in/../{n}"),
        [
            ":4: chains.a.origin: '/in/../{n}' names no file; end it with a pattern for the files' names, without `..`"
        ],
    ),
    "a field that is not closed": (
        ("/in/{n}.dat", "/in/{n.dat"),
        [
            ":4: chains.a.origin: a broken field: expected '}' before end of string; "
            "close every {, and double a brace that is text"
        ],
    ),
    "a field without a name": (
        ("/in/{n}.dat", "/in/{}.dat"),
        [":4: chains.a.origin: the field {} has no proper name; name it like {platform_name}"],
    ),
    "a field with a conversion": (
        ("/in/{n}.dat", "/in/{n!u}.dat"),
        [":4: chains.a.origin: the field {n} can't be read from a name; give a plain format, like 05d"],
    ),
    "a topic with a blank": (
        ("topic: /a", "topic: /a b"),
        [":5: chains.a.topic: '/a b' holds a blank; give a topic like /1b/hrit"],
    ),
    "a topic without a slash": (
        ("topic: /a", "topic: a"),
        ["warning:5: chains.a.topic: begins without /, and is taken as /a; write the slash"],
    ),
    "no port": (
        ("request: 9092", "request: {port: 70000}"),
        [":6: chains.a.request.port: '70000' does not fit; give a port from 0 (any free one) to 65535"],
    ),
    "no port in short": (
        ("request: 9092", "request: tcp"),
        [":6: chains.a.request.port: 'tcp' does not fit; give a port from 0 (any free one) to 65535"],
    ),
    "an open socket that names no security": (
        ("request: 9092", "request: {port: 9092, bind: 0.0.0.0}"),
        [
            ":6: chains.a.request.bind: 0.0.0.0 can be reached from other machines, and no security is named; "
            "add `security: curve` to let in who has a key, `security: trusted-network` if everybody there may be "
            "trusted, or bind to 127.0.0.1"
        ],
    ),
    "an open socket that says it is not": (
        ("request: 9092", 'request: {port: 9092, bind: "*", security: loopback}'),
        [
            ":6: chains.a.request.bind: * can be reached from other machines, and no security is named; "
            "add `security: curve` to let in who has a key, `security: trusted-network` if everybody there may be "
            "trusted, or bind to 127.0.0.1"
        ],
    ),
    "a bind to a name": (
        ("request: 9092", "request: {port: 9092, bind: eth0}"),
        [":6: chains.a.request.bind: 'eth0' is no IP address; give one of this host, or \"*\" for all"],
    ),
    "a security that is none": (
        ("request: 9092", "request: {port: 9092, security: none}"),
        [":6: chains.a.request.security: 'none' does not fit; give loopback, trusted-network or curve"],
    ),
    "a request address with a port": (
        "    request_address: host:9092\n",
        [
            ":8: chains.a.request_address: 'host:9092' is no host; give a name or an IP address, without a port"
        ],
    ),
    "an allow that is no URL": (
        ("file:///out/**", "/out/**"),
        [
            ":7: chains.a.allow: '/out/**' is no URL pattern; "
            "give one like file:///data/** or sftp://host/in/**"
        ],
    ),
    "an allow without a host": (
        ("file:///out/**", "sftp:///out/**"),
        [":7: chains.a.allow: 'sftp:///out/**' names no host; name it, or `*` for any: sftp://*/out/**"],
    ),
    "an allow with a password": (
        ("file:///out/**", '"sftp://me:planted-secret@host/**"'),
        [":7: chains.a.allow: holds a password; leave it out; every password fits"],
    ),
    "an allow of nobody's scheme": (
        ("file:///out/**", "sfpt://host/**"),
        [":7: chains.a.allow: no mover speaks `sfpt`; did you mean `sftp`?"],
    ),
    "an allow that climbs": (
        ("file:///out/**", "file:///out/../**"),
        [":7: chains.a.allow: 'file:///out/../**' holds `..`; write out the folder that is meant"],
    ),
    "everything allowed": (
        ("file:///out/**", '"**"'),
        ["warning:7: chains.a.allow: allows every destination; name those that are needed"],
    ),
    "nothing allowed": (
        ("    allow: [file:///out/**]\n", ""),
        [
            "warning:3: chains.a.allow: allows no destination, so that every `push` is refused; add URL patterns"
        ],
    ),
    "a key that is missing": (
        ("    topic: /a\n", ""),
        [":3: chains.a.topic: is missing; give a topic like /1b/hrit"],
    ),
    "a chain without anything": (
        "  b:\n",
        [":8: chains.b: nothing does not fit; give a block of options, at least topic"],
    ),
    "chains that are a list": (
        ("  a:\n", "  - a:\n"),
        [":2: chains: a list does not fit; give a block for each chain, by its name"],
    ),
    "two chains on one port": (
        "  b: {origin: '/in/{n}', topic: /b, request: {port: 9092, bind: 127.0.0.1}, allow: [file:///out/]}\n",
        [
            ":8: chains.b.request.port: port 9092 is taken already, for taking the requests of a; choose another"
        ],
    ),
    "one port on all interfaces and on one": (
        "  b: {origin: '/in/{n}', topic: /b, request: {port: 9092, bind: 0.0.0.0, security: trusted-network}}\n",
        [
            ":8: chains.b.request.port: port 9092 is taken already, for taking the requests of a; choose another"
        ],
    ),
    "the publishing port asked": (
        ("request: 9092", "request: 9010"),
        [":6: chains.a.request.port: port 9010 is taken already, for publishing; choose another"],
    ),
    "a role that is none": (
        ("role: server", "role: sever"),
        [":1: role: 'sever' is no role; did you mean `server`?"],
    ),
    "a parameter that no mover knows": (
        "    connection_parameters:\n      hard_lnik: yes\n      key_files: k\n",
        [
            ":9: chains.a.connection_parameters.hard_lnik: no mover of these destinations knows it; "
            "did you mean `hard_link`?",
            ":10: chains.a.connection_parameters.key_files: no mover of these destinations knows it; "
            "see docs/configuration.md#connection-parameters",
        ],
    ),
    "a parameter that the mover refuses": (
        "    connection_parameters: {hard_link: maybe}\n",
        [
            ":8: chains.a.connection_parameters.hard_link: Input should be a valid boolean, "
            "unable to interpret input; see docs/configuration.md#connection-parameters"
        ],
    ),
    "a tab": (
        "\tstation: x\n",
        [":8: a tab can't indent in YAML; indent with spaces"],
    ),
    "a value that starts with a star": (
        "    station: *kiruna\n",
        [":8: a value that starts with * is an alias in YAML; put the value in quotes"],
    ),
    "a colon in a value": (
        "    station: kiruna: north\n",
        [
            ":8: a second `: ` in one value; "
            "put the value in quotes, or indent the keys of one block alike, with spaces"
        ],
    ),
    "a key without a colon": (
        "    station\n",
        [":9: a key without `:`; write it as key: value"],
    ),
    "a wrong indentation": (
        "   station: x\n",
        [":8: this line does not fit the block above it; indent the keys of one block alike, with spaces"],
    ),
    "a bracket that is not closed": (
        "    allow: [a, b\n",
        [":9: a bracket or brace is not closed; close it, or put the value in quotes"],
    ),
    "a quote that is not closed": (
        "    station: 'x\n",
        [":9: a quote is not closed; close it"],
    ),
    "a second document": (
        "---\nrole: client\n",
        [":8: a second document (`---`) begins here; keep one document"],
    ),
    "a value that holds itself": (
        "    info: &i {i: *i}\n",
        [":8: chains.a.info.i: holds itself; remove the alias"],
    ),
    "a merge of nothing": (
        "    <<: x\n",
        [":8: chains.a.<<: only another block of options can be merged; name one by its alias"],
    ),
    "defaults that are none": (
        "defaults: x\n",
        [":8: defaults: does not fit; give a block of options for every chain"],
    ),
    "a wrong default": (
        "defaults: {delete: maybe}\n",
        [":8: defaults.delete: 'maybe' does not fit; give yes or no"],
    ),
}

CLIENT_CASES = {
    "a provider without a port": (
        ("b:9010", "b"),
        [":4: chains.a.providers: 'b' is no provider; give host:port, or host:port/topic"],
    ),
    "a provider with port 0": (
        ("b:9010", "b:0"),
        [":4: chains.a.providers: 'b:0' is no provider; give host:port, or host:port/topic"],
    ),
    "a provider that is no host": (
        ("b:9010", "'b_c!:9010'"),
        [":4: chains.a.providers: 'b_c!' is no host; give a name or an IP address, without a port"],
    ),
    "a lease in which nobody can publish": (
        "    lease: 1 s\n",
        [":8: chains.a.lease: '1 s' is too short to publish in and to tell the server; give 4 s or more"],
    ),
    "no provider": (
        ("[b:9010]", "[]"),
        [":4: chains.a.providers: an empty list does not fit; give a list of host:port or host:port/topic"],
    ),
    "a provider with credentials": (
        ("[b:9010]", "tcp://u:planted secret@b:9010"),
        [":4: chains.a.providers: holds credentials; leave them out"],
    ),
    "nothing to hear": (
        ("    topic: /a\n", ""),
        [
            ":3: chains.a.topic: nothing says what to hear from b:9010; "
            'add a topic (`""` for everything), here or behind the provider'
        ],
    ),
    "a relative destination": (
        ("file:///out/", "out/"),
        [
            ":6: chains.a.destination: 'out/' is no destination; give a URL like file:///data/ or sftp://host/data/"
        ],
    ),
    "a destination of nobody's scheme": (
        ("file:///out/", "flie://host/out/"),
        [":6: chains.a.destination: no mover speaks `flie`; did you mean `file`?"],
    ),
    "a destination with credentials": (
        ("file:///out/", "sftp://u:planted-secret@host/out/"),
        [
            ":6: chains.a.destination: holds credentials; "
            "put them into `login`, or into a file that `login_file` names"
        ],
    ),
    "a destination without a path": (
        ("file:///out/", "sftp://host"),
        [":6: chains.a.destination: 'sftp://host' names no folder; add one: sftp://host/data/"],
    ),
    "a destination with a broken field": (
        ("file:///out/", "file:///out/{time:%Y/"),
        [
            ":6: chains.a.destination: a broken field: unmatched '{' in format spec; "
            "close every {, and double a brace that is text"
        ],
    ),
    "a destination with a numbered field": (
        ("file:///out/", "file:///out/{0}/"),
        [":6: chains.a.destination: the field {0} has no proper name; name it like {platform_name}"],
    ),
    "one name for all files": (
        ("file:///out/", "file:///out"),
        ["warning:6: chains.a.destination: gives every file the same name; end it with / if it is a folder"],
    ),
    "a login of nobody": (
        '    login: ":planted-secret"\n',
        [":8: chains.a.login: is no login; give user or user:password"],
    ),
    "a login that is a list": (
        "    login: [planted, secret]\n",
        [":8: chains.a.login: what is given does not fit; give a login: user or user:password"],
    ),
    "a login and its file": (
        "    login: u\n    login_file: /l\n",
        [":9: chains.a.login_file: stands beside `login`; keep one of the two"],
    ),
    "a login file that is not there": (
        "    login_file: /nowhere/login\n",
        [
            ":8: chains.a.login_file: /nowhere/login can't be read: No such file or directory; "
            "mend path or rights"
        ],
    ),
    "a credential outside of systemd": (
        "    login_file: login\n",
        [
            "warning:8: chains.a.login_file: can't be looked at, as $CREDENTIALS_DIRECTORY is not set; "
            "give a full path, or start by systemd"
        ],
    ),
    "a port that nobody knows": (
        ("    publish: 9020\n", ""),
        [
            "warning:3: chains.a.publish: publishes on any free port, which nobody can know; "
            "give a port, or name servers"
        ],
    ),
    "name servers that are none": (
        "    nameservers: {a: b}\n",
        [":8: chains.a.nameservers: a block of options does not fit; give no, multicast, or a list of hosts"],
    ),
    "name servers with ports": (
        "    nameservers: [ns1:5557]\n",
        [":8: chains.a.nameservers: 'ns1:5557' is no host; give a name or an IP address, without a port"],
    ),
    "two chains on one port": (
        "  b: {providers: [b:1], topic: /b, destination: /out/, publish: 9020}\n",
        [":8: chains.b.publish.port: port 9020 is taken already, for publishing for a; choose another"],
    ),
    "two sockets on one port": (
        "    replay: 9020\n",
        [":8: chains.a.replay.port: port 9020 is taken already, for publishing for a; choose another"],
    ),
    "a chain with a blank in its name": (
        ("  a:\n", "  a b:\n"),
        [":3: chains.a b: 'a b' is no name; give a word without blanks and slashes"],
    ),
    "a key of the server": (
        "    origin: /in/{n}\n",
        [
            ":8: chains.a.origin: is no option here; it is an option of a server",
        ],
    ),
    "a root that is not one": (
        "    ftp_root: srv\n",
        [":8: chains.a.ftp_root: 'srv' is no full path; begin it with /"],
    ),
}


def changed(text, change):
    if isinstance(change, str):
        return text + change
    assert change[0] in text
    return text.replace(*change)


@pytest.mark.parametrize("case", SERVER_CASES)
def test_server(tmp_path, case):
    change, expected = SERVER_CASES[case]
    assert told(write(tmp_path, changed(SERVER, change))) == expected


@pytest.mark.parametrize("case", CLIENT_CASES)
def test_client(tmp_path, case, monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    change, expected = CLIENT_CASES[case]
    assert told(write(tmp_path, changed(CLIENT, change))) == expected


def test_everything_is_told_at_once(tmp_path):
    text = """role: server
heartbaet: 3 s
chains:
  a:
    orign: /in/{n}
    topic: /a
    request: x
  b:
    origin: in
    topic: /a
    request: 9010
    allow: [sfpt://x/]
    delete: maybe
"""
    assert told(write(tmp_path, text)) == [
        ":2: heartbaet: is no option; did you mean `heartbeat`?",
        ":5: chains.a.orign: is no option; did you mean `origin`?",
        ":7: chains.a.request.port: 'x' does not fit; give a port from 0 (any free one) to 65535",
        ":9: chains.b.origin: 'in' is no full path; begin it with /",
        ":13: chains.b.delete: 'maybe' does not fit; give yes or no",
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ": is empty; see config/ for examples"),
        (b"# nothing\n", ":1: holds no options; begin with `role: server` or `role: client`"),
        (b"just a word", ":1: holds no options; begin with `role: server` or `role: client`"),
        (b"role: server\nchains: {}\n", ":2: chains: holds no chain; add one"),
        (b"role: server\n", ":1: chains: is missing; give a block for each chain, by its name"),
        (b"role: server\n# \xe5\n", ":2: is not written in UTF-8; save the file as UTF-8"),
        (b"role: server\nname: a\x01\n", ":2: holds a character that no YAML file may hold; remove it"),
        (b"? [a]\n: b\nrole: server\n", ":1: a key has to be a word; write it as key: value"),
    ],
)
def test_files_that_say_little(tmp_path, content, expected):
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    assert expected in told(path)


def test_a_file_that_is_not_there(tmp_path):
    assert told(tmp_path / "c.yaml") == [
        ": can't be read: No such file or directory; is this the path, and may this user read it?"
    ]


def test_a_file_for_another_process(tmp_path):
    assert told(write(tmp_path, SERVER), "client") == [
        ":1: role: this file is for a server, not for a client; start `tranship server` with it"
    ]


def test_a_login_file_must_hold_a_login(tmp_path):
    login = write(tmp_path, "planted\nsecret\n", "login")
    assert told(write(tmp_path, CLIENT + f"    login_file: {login}\n")) == [
        f":8: chains.a.login_file: {login} holds no login; write user:password there, in one line"
    ]


def test_a_process_does_not_start_without_its_credential(tmp_path, monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    path = write(tmp_path, CLIENT + "    login_file: login\n")
    assert told(path, "client") == [
        ":8: chains.a.login_file: can't be looked at, as $CREDENTIALS_DIRECTORY is not set; "
        "give a full path, or start by systemd"
    ]
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    write(tmp_path, "user:planted-secret", "login")
    assert told(path, "client") == []


@pytest.mark.parametrize(
    ("text", "role"),
    [
        (SERVER.replace("file://", "https://h") + "    connection_parameters: {token: planted}\n", "server"),
        (CLIENT + "    login: user:planted\n", "client"),
    ],
)
def test_a_password_that_everybody_may_read(tmp_path, text, role):
    path = write(tmp_path, text)
    assert told(path, role) == []
    path.chmod(0o644)
    assert told(path, role) == [
        f"warning: holds a password, and everybody on this host may read it; chmod o-rwx {path}"
    ]


def test_folders_on_disk(tmp_path):
    (tmp_path / "file").touch()
    text = SERVER.replace("/in/{n}.dat", f"{tmp_path}/file/{{n}}.dat")
    with pytest.raises(ConfigError) as refused:
        load(write(tmp_path, text))
    assert refused.value.findings[0].problem == f"{tmp_path}/file is no folder"


@pytest.fixture
def somebody():
    """Judge folders as an ordinary user does, whoever runs the tests; gives a place that everybody can reach."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        mine = os.geteuid()

        def judge(folder):
            os.seteuid(mine or 65534)
            try:
                return on_disk(folder)
            finally:
                os.seteuid(mine)

        yield Path(place), judge


def test_a_folder_that_may_not_be_read(tmp_path, somebody):
    place, judge = somebody
    (place / "in").mkdir(mode=0)
    text = SERVER.replace("/in/{n}.dat", f"{place}/in/{{n}}.dat")
    with pytest.raises(ConfigError) as refused:
        load(write(tmp_path, text), folders=judge)
    assert refused.value.findings[0].problem == f"the folder {place}/in may not be read by this user"


def test_a_finding_knows_where_it_is(tmp_path):
    path = write(tmp_path, SERVER + "    orign: x\n")
    with pytest.raises(ConfigError) as refused:
        load(path, folders=taken_on_trust)
    (finding,) = refused.value.findings
    assert (Path(finding.file), finding.line, finding.key) == (path, 8, "chains.a.orign")
