"""The INI files of Trollmoves: read as Trollmoves reads them, option by option, and broken ones told."""

import configparser
import tempfile
import warnings
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from posttroll.publisher import NoisyPublisher, create_publisher_from_dict_config
from trollmoves import client as their_client
from trollmoves import server as their_server

from tranship.config import (
    ConfigError,
    NameServers,
    Overrides,
    Provider,
    Security,
    Watch,
    load,
    taken_on_trust,
)
from tranship.config.findings import Report
from tranship.config.ini_file import looks_like_ini, read_ini
from tranship.config.unpack import Unpack

SERVER = """[a]
origin = /in/{n}.dat
topic = /a
request_port = 9092
"""
CLIENT = """[a]
providers = b:9010
topic = /a
destination = file:///out/
publish_port = 9020
"""


def write(tmp_path, text):
    path = tmp_path / "c.ini"
    path.write_text(text)
    path.chmod(0o600)
    return path


def read(tmp_path, text, **how):
    return load(write(tmp_path, text), folders=taken_on_trust, **how)


def chain(tmp_path, text, **how):
    (only,) = read(tmp_path, text, **how).config.chains.values()
    return only


def told(tmp_path, text, **how):
    """What is told beyond the old reach, which is told of every such file."""
    path = write(tmp_path, text)
    try:
        loaded = load(path, folders=taken_on_trust, **how)
    except ConfigError as error:
        return [line.removeprefix(str(path)) for line in str(error).splitlines()]
    odd = [warning for warning in loaded.warnings if "as INI files always did" not in warning.problem]
    return [f"warning{str(warning).removeprefix(str(path))}" for warning in odd]


# ---- the format


SAID = [
    "[a]",
    "[b]",
    "[a] x",
    "[DEFAULT]",
    " [b]",
    "[]",
    "k = v",
    "K: v",
    "k=",
    "  go on",
    "    k2 = v2",
    "",
    "   ",
]
ODD = [
    "# comment",
    "; comment",
    "  # comment",
    "j = a=b;c:d",
    "no delimiter",
    "= no key",
    "i = # text",
    "k2 : x # y",
]
LINES = st.sampled_from([*SAID, *ODD])


@settings(max_examples=400, deadline=None)
@given(st.lists(LINES, max_size=14).map("\n".join))
def test_ini_is_read_as_configparser_reads_it(text):
    report = Report("c.ini")
    ours = {
        section.name: {key: item.text for key, item in section.items.items()}
        for section in read_ini(text, report)
    }
    theirs = configparser.ConfigParser(interpolation=None)
    try:
        theirs.read_string(text)
    except configparser.Error:
        assert report.errors
        return
    assert report.errors == ()
    assert ours == {name: dict(theirs.items(name)) for name in theirs.sections()}


@pytest.mark.parametrize(
    ("text", "ini"),
    [
        ("[a]\n", True),
        ("# x\n\n; y\n[a b] # z\nk = v", True),
        ("k = v\n[a]", True),
        ("role: server\nchains: [a]", False),
        ("---\n[a, b]", False),
        ("# [a]\nrole: server", False),
        ("{role: server}", False),
    ],
)
def test_told_apart_by_content(text, ini):
    assert looks_like_ini(text) is ini


# ---- server


def ours_and_theirs(tmp_path, text, module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # theirs warns of bare ssh options
        theirs = module.read_config(str(write(tmp_path, text)))
    return read(tmp_path, text).config.chains, theirs


def test_a_server_file_says_to_us_what_it_says_to_trollmoves(tmp_path):
    text = """
[DEFAULT]
station = kiruna
delete = on
[a]
origin = /in/{series:_<6s}-{orbit:05d}-50%.dat
topic = /1b/hrit
info = sensor=seviri;list=a,b,c;sublon=0
request_port = 9092
request_address = 192.0.2.7
remove_delay = 60
watchdog_timeout = 0.5
connection_uptime = 30
ssh_key_filename = id_rsa.pub
ssh_private_key_file = id_rsa
ssh_connection_timeout = 30
connection_parameters__secret = planted-secret
connection_parameters__client_kwargs__endpoint_url = https://endpoint.example
connection_parameters__client_kwargs__verify = false
connection_parameters__num_ssh_retries = 5
[b]
origin: /in/b/{name}
topic: /b
request_port: 9093
delete: no
"""
    ours, theirs = ours_and_theirs(tmp_path, text, their_server)
    assert list(ours) == list(theirs) == ["a", "b"]
    for name, chain in ours.items():
        told = theirs[name]
        assert chain.origin == told["origin"]
        assert chain.topic == told["topic"]
        assert chain.station == told["station"]
        assert chain.delete is told["delete"]
        assert str(chain.request.port) == told["request_port"]
    a, told = ours["a"], theirs["a"]
    lists = {key: list(value) if isinstance(value, tuple) else value for key, value in a.info.items()}
    assert lists == their_server._collect_attribute_info(told)
    # ours leaves out what only Trollmoves knows
    assert told["connection_parameters"].pop("num_ssh_retries") == "5"
    assert a.connection_parameters.plain() == told["connection_parameters"]
    assert a.request_address == told["request_address"]
    assert a.remove_delay == timedelta(seconds=int(told["remove_delay"]))
    assert a.poll_interval == timedelta(seconds=float(told["watchdog_timeout"]))


SERVER_OPTIONS = {
    "origin": ("origin = /in/{p}_{o:05d}/{n}.h5", lambda c: c.origin == "/in/{p}_{o:05d}/{n}.h5"),
    "topic": ("topic = /b", lambda c: c.topic == "/b"),
    "info": ("info = k=v;k2=a,b;", lambda c: c.info == {"k": "v", "k2": ("a", "b")}),
    "station": ("station = no", lambda c: c.station == "no"),
    "request_port": ("request_port = 9093", lambda c: c.request.port == 9093),
    "request_address": ("request_address = h.example", lambda c: c.request_address == "h.example"),
    "delete": ("delete = True", lambda c: c.delete is True),
    "remove_delay": ("remove_delay = 5", lambda c: c.remove_delay == timedelta(seconds=5)),
    "connection_parameters__a__b": (
        "connection_parameters__client_kwargs__verify = 1\nconnection_parameters__client_kwargs__region_name = no",
        lambda c: c.connection_parameters.plain() == {"client_kwargs": {"verify": True, "region_name": "no"}},
    ),
    "ssh_key_filename": (
        "ssh_key_filename = k",
        lambda c: c.connection_parameters["ssh_key_filename"] == "k",
    ),
    "ssh_private_key_file": (
        "ssh_private_key_file = k",
        lambda c: c.connection_parameters["ssh_private_key_file"] == "k",
    ),
    "ssh_connection_timeout": (
        "ssh_connection_timeout = 5",
        lambda c: c.connection_parameters["ssh_connection_timeout"] == "5",
    ),
    "connection_uptime": (
        "connection_uptime = 5",
        lambda c: c.connection_parameters["connection_uptime"] == "5",
    ),
    "watchdog_timeout": ("watchdog_timeout = 0.1", lambda c: c.poll_interval == timedelta(milliseconds=100)),
    "no compression": ("compression = False", lambda c: c.unpack is None),
    "compression": (
        "compression = xrit\nprog = /opt/xRITDecompress\nworking_directory = /work\ndelete = True",
        lambda c: (
            c.delete
            and c.unpack
            == Unpack(format="xrit", command=["/opt/xRITDecompress"], directory="/work", delete=True)
        ),
    ),
    "compression bzip": (
        "compression = bzip",
        lambda c: c.unpack == Unpack(format="bzip2", directory=tempfile.gettempdir()),
    ),
    "no working_directory": (
        "compression = bzip\nworking_directory =",
        lambda c: c.unpack == Unpack(format="bzip2", directory=tempfile.gettempdir()),
    ),
    "paths from here": (
        "origin = in/{n}\ncompression = bzip\nworking_directory = work",
        lambda c: (c.origin, c.unpack.directory) == (f"{Path.cwd()}/in/{{n}}", Path.cwd() / "work"),
    ),
    "empty parameters": (
        "ssh_key_filename =\nconnection_parameters__client_kwargs__endpoint_url =",
        lambda c: c.connection_parameters.plain() == {},
    ),
}

NEEDS_ANOTHER = {
    "prog": ("prog = /bin/x", "compression"),
    "working_directory": ("working_directory = /tmp", "compression"),
    "topics": ("topics = /x", "listen"),
    "services": ("services = x", "listen"),
    "addresses": ("addresses = tcp://h:1", "listen"),
    "nameserver": ("nameserver = h", "listen"),
    "addr_listener": ("addr_listener = True", "listen"),
    "timeout": ("timeout = 5", "listen"),
    "translate": ("translate = True", "listen"),
}


def replaced(text, line):
    """The file text with line, instead of the line of the same key if it has one."""
    key = line.split("=")[0]
    return "".join(old + "\n" for old in text.splitlines() if not old.startswith(key)) + line + "\n"


@pytest.mark.parametrize("option", SERVER_OPTIONS)
def test_server_option(tmp_path, option):
    line, holds = SERVER_OPTIONS[option]
    text = replaced(SERVER, line)
    assert told(tmp_path, text) == []
    assert holds(chain(tmp_path, text))


LISTENING = "[a]\nlisten = /x\ntopic = /a\nrequest_port = 9092\n"


@pytest.mark.parametrize(
    ("lines", "topics", "addresses", "nameserver", "services"),
    [
        ("", ("/x",), [], "localhost", ()),
        ("nameserver = False\n", ("/x",), [], "localhost", ()),
        ("addresses = h:1\n", ("/x",), ["h"], "localhost", ()),
        ("addresses = h:1\nnameserver =\n", ("/x",), ["h"], "localhost", ()),
        (
            "topics = /y /z\nnameserver = False\naddresses = h:1 tcp://i:2\n",
            ("/y", "/z"),
            ["h", "i"],
            None,
            (),
        ),
        ("nameserver = ns\nservices = one two\n", ("/x",), [], "ns", ("one", "two")),
    ],
)
def test_a_section_that_listens(tmp_path, lines, topics, addresses, nameserver, services):
    assert told(tmp_path, LISTENING + lines) == []
    listen = chain(tmp_path, LISTENING + lines).listen
    assert listen.topics == topics
    assert [provider.host for provider in listen.addresses] == addresses
    assert (listen.nameserver, listen.services) == (nameserver, services)
    assert listen.allow == ("file:///**",)  # as ever, and it is said
    file = tmp_path / "listening.ini"
    file.write_text(LISTENING + lines)
    assert "announces whatever file of this host a message names" in str(load(file, "server").warnings)


def test_a_section_without_request_port_stands_alone(tmp_path):
    text = SERVER.replace("request_port = 9092\n", "")
    assert told(tmp_path, text) == []
    assert (chain(tmp_path, text).request, chain(tmp_path, text).filesystem) == (None, None)
    assert chain(tmp_path, text + "unpack = tar\n").filesystem.archive == "tar"
    assert "give a port" in told(tmp_path, LISTENING.replace("request_port = 9092\n", ""))[0]


@pytest.mark.parametrize("option", NEEDS_ANOTHER)
def test_an_option_that_does_nothing_alone(tmp_path, option):
    line, needs = NEEDS_ANOTHER[option]
    assert told(tmp_path, SERVER + line) == [
        f"warning:5: [a] {option}: does nothing without `{needs}`; remove it"
    ]


def test_the_command_line_of_a_server(tmp_path):
    assert read(tmp_path, SERVER).config.publish.address == "tcp://*:9010"
    config = read(
        tmp_path, SERVER, overrides=Overrides(publish_port=9011, watch=Watch.POLL, backlog=False)
    ).config
    assert config.publish.port == 9011
    assert (config.chains["a"].watch, config.chains["a"].backlog) == (Watch.POLL, False)


def test_the_old_reach_of_a_server_is_told(tmp_path):
    loaded = read(tmp_path, SERVER)
    a = loaded.config.chains["a"]
    assert (a.request.address, a.request.security, a.allow) == (
        "tcp://*:9092",
        Security.TRUSTED_NETWORK,
        ("**",),
    )
    assert [str(warning).removeprefix(f"{tmp_path}/c.ini") for warning in loaded.warnings] == [
        ":1: publishes on port 9010 of all interfaces, as INI files always did; "
        "to close it, write the file in YAML (docs/configuration.md)",
        ":1: [a]: port 9092 takes requests on all interfaces, for every destination, as INI files always did; "
        "to close it, write the file in YAML (docs/configuration.md) "
        "with `allow`, and with `bind` and `security` under `request`",
    ]


# ---- client


def test_a_client_file_says_to_us_what_it_says_to_trollmoves(tmp_path):
    text = """
[DEFAULT]
login = user:planted%secret
[a]
providers = s2:9010 s1:9010/own/topic
  s3:9011
destination = ftp:///san1/geo_in/{platform_name}/
topic = /1b/hrit
publish_port = 9020
nameservers = localhost 192.0.2.10
heartbeat_alarm_scale = 10
processing_delay = 0.02
req_timeout = 2
transfer_req_timeout = 20.5
create_target_directory = False
backup_targets = h1 h2
[b]
providers = s1:9010
destination = file:///out/
topic =
nameservers = False
"""
    ours, theirs = ours_and_theirs(tmp_path, text, their_client)
    for name, chain in ours.items():
        told = theirs[name]
        assert [provider.address for provider in chain.providers] == told["providers"]
        assert chain.destination == told["destination"]
        assert chain.login.get_secret_value() == told["login"]
        assert chain.topic == told["topic"]
        assert chain.publish.port == told["publish_port"]
        assert chain.create_target_directory is told["create_target_directory"]
        assert chain.req_timeout == timedelta(seconds=float(told["req_timeout"]))
        assert chain.transfer_req_timeout == timedelta(seconds=float(told["transfer_req_timeout"]))
        assert list(chain.backup_targets) == (told["backup_targets"] or [])
    assert ours["a"].nameservers == NameServers(tuple(theirs["a"]["nameservers"]))
    assert ours["b"].nameservers.multicast  # as nobody could know its port otherwise
    for name, chain in ours.items():
        told = theirs[name]
        settings = {"name": name, "port": told["publish_port"], "nameservers": told["nameservers"]}
        made_known = isinstance(create_publisher_from_dict_config(settings), NoisyPublisher)
        assert made_known is bool(chain.nameservers)
    assert ours["a"].topic_of(ours["a"].providers[1]) == "/own/topic"


CLIENT_OPTIONS = {
    "providers": (
        "providers = a:1 b:2/t",
        lambda c: c.providers == (Provider("a", 1), Provider("b", 2, "/t")),
    ),
    "destination": (
        "destination = /out/{start_time:%Y%m%d}",
        lambda c: c.destination == "file:///out/{start_time:%Y%m%d}/",
    ),
    "destination by scp": ("destination = scp:///out", lambda c: c.destination == "scp:///out/"),
    "destination by one slash": ("destination = FILE:/out", lambda c: c.destination == "file:///out/"),
    "destination that is a bucket": ("destination = s3://bucket", lambda c: c.destination == "s3://bucket/"),
    "destination by s3": ("destination = s3://bucket/{uid}", lambda c: c.destination == "s3://bucket/{uid}"),
    "login": ("login = u:planted", lambda c: c.login.get_secret_value() == "u:planted"),
    "no login": ("login =", lambda c: c.login is None),
    "topic": ("topic = /b", lambda c: c.topic == "/b"),
    "publish_port": ("publish_port = 9021", lambda c: c.publish.address == "tcp://*:9021"),
    "any publish_port": ("publish_port =", lambda c: c.publish.port == 0),
    "no publish_port": ("publish_port = any", lambda c: c.publish.port == 0),
    "no nameservers": ("req_timeout = 1", lambda c: c.nameservers == NameServers(multicast=True)),
    "nameservers": ("nameservers = h1 h2", lambda c: c.nameservers == NameServers(("h1", "h2"))),
    "nameservers off": ("nameservers = False", lambda c: c.nameservers == NameServers()),
    "nameservers off, any port": (
        "publish_port = 0\nnameservers = False",
        lambda c: c.nameservers == NameServers(multicast=True),
    ),
    "nameservers empty": ("nameservers =", lambda c: c.nameservers == NameServers(multicast=True)),
    "nameservers on": ("nameservers = yes", lambda c: c.nameservers.multicast),
    "no compression": ("compression = False", lambda c: c.replace == {} and c.unpack is None),
    "compression": (
        "compression = tar\ndelete = True",
        lambda c: c.unpack == Unpack(format="tar", delete=True) and c.replace == {},
    ),
    "xritdecompressor": (
        "compression = xrit\nxritdecompressor = xRITDecompress",
        lambda c: c.unpack == Unpack(format="xrit", command="xRITDecompress"),
    ),
    "compression bzip": ("compression = bzip", lambda c: c.unpack == Unpack(format="bzip2")),
    "delete": ("delete = False", lambda c: c.replace == {}),
    "processing_delay": (
        "processing_delay = 0.02",
        lambda c: c.processing_delay == timedelta(milliseconds=20),
    ),
    "heartbeat": ("heartbeat = False\nheartbeat_alarm_scale = 10", lambda c: c.heartbeat_alarm_scale == 0),
    "heartbeat empty": ("heartbeat =\nheartbeat_alarm_scale = 10", lambda c: c.heartbeat_alarm_scale == 0),
    "no processing_delay": ("processing_delay =", lambda c: c.processing_delay == timedelta(0)),
    "no create_target_directory": (
        "create_target_directory =",
        lambda c: c.create_target_directory is False,
    ),
    "delete empty": ("compression = tar\ndelete =", lambda c: c.unpack == Unpack(format="tar")),
    "heartbeat on": ("heartbeat = True\nheartbeat_alarm_scale = 10", lambda c: c.heartbeat_alarm_scale == 10),
    "no heartbeat_alarm_scale": ("heartbeat = True", lambda c: c.heartbeat_alarm_scale == 0),
    "heartbeat_alarm_scale": ("heartbeat_alarm_scale = 1.5", lambda c: c.heartbeat_alarm_scale == 1.5),
    "req_timeout": ("req_timeout = 3", lambda c: c.req_timeout == timedelta(seconds=3)),
    "transfer_req_timeout": (
        "transfer_req_timeout = 3",
        lambda c: c.transfer_req_timeout == timedelta(seconds=3),
    ),
    "create_target_directory": (
        "create_target_directory = off",
        lambda c: c.create_target_directory is False,
    ),
    "ftp_root": ("ftp_root = /srv", lambda c: c.ftp_root == Path("/srv")),
    "backup_targets": ("backup_targets = h1 h2", lambda c: c.backup_targets == ("h1", "h2")),
    "any metadata key": (
        "format = HRIT\nplatform_name = MSG3:Meteosat-10|MSG4:Meteosat-11\nsublon = 0",
        lambda c: (
            c.replace
            == {
                "format": "HRIT",
                "platform_name": {"MSG3": "Meteosat-10", "MSG4": "Meteosat-11"},
                "sublon": "0",
            }
        ),
    ),
}


@pytest.mark.parametrize("option", CLIENT_OPTIONS)
def test_client_option(tmp_path, option):
    line, holds = CLIENT_OPTIONS[option]
    text = replaced(CLIENT, line)
    assert told(tmp_path, text) == []
    assert holds(chain(tmp_path, text))


@pytest.mark.parametrize("line", ["xritdecompressor = x", "delete = True"])
def test_an_option_of_unpacking_does_nothing_alone(tmp_path, line):
    key = line.split(" ")[0]
    assert told(tmp_path, CLIENT + line) == [
        f"warning:6: [a] {key}: does nothing without `compression`; remove it"
    ]
    assert chain(tmp_path, CLIENT + line).replace == {}


@pytest.mark.parametrize(
    ("text", "told_so"),
    [
        (
            SERVER + "compression = xrit\n",
            ":5: [a] compression: needs `prog`; give the full path of the program",
        ),
        (SERVER + "compression = tar\n", ":5: [a] compression: 'tar' does not fit; give xrit or bzip"),
        (
            SERVER + "compression = bzip\nprog = x\n",
            "warning:6: [a] prog: does nothing without `compression = xrit`; remove it",
        ),
        (CLIENT + "compression = gz\n", ":6: [a] compression: 'gz' does not fit; give tar or xrit or bzip"),
        (
            CLIENT + "compression = tar\nblock_size = 9\n",
            "warning:7: [a] block_size: is not needed: the work is done where the results go; remove it",
        ),
        (
            CLIENT + "compression = xrit\nxritdecompressor = ./x\n",
            ":7: [a] xritdecompressor: './x' is no full path; begin it with /",
        ),
    ],
)
def test_what_is_told_of_unpacking(tmp_path, text, told_so):
    assert told_so in told(tmp_path, text)


def test_every_option_of_trollmoves_is_tested():
    """The list is that of its documentation and code, for server and client."""
    server = (
        "origin listen topics services addresses nameserver topic info station request_port request_address "
    )
    server += "compression prog working_directory unpack delete remove_delay connection_parameters__a__b "
    server += (
        "ssh_key_filename ssh_private_key_file ssh_connection_timeout connection_uptime watchdog_timeout"
    )
    assert set(server.split()) <= {*SERVER_OPTIONS, "listen", "unpack", *NEEDS_ANOTHER}
    client = "providers destination login topic publish_port nameservers compression delete processing_delay "
    client += (
        "heartbeat heartbeat_alarm_scale req_timeout transfer_req_timeout create_target_directory ftp_root "
    )
    client += "backup_targets"
    assert {*client.split(), "any metadata key"} <= {*CLIENT_OPTIONS}


# ---- what is told


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            SERVER + "requst_adress = h\n",
            ["warning:5: [a] requst_adress: is read by nobody; did you mean `request_address`?"],
        ),
        (
            SERVER
            + "connection_parameters__num_ssh_retries = 5\nconnection_parameters__s3_use_copy = True\n",
            [
                "warning:5: [a] connection_parameters__num_ssh_retries: is not used: "
                "no mover of these destinations knows it; remove it",
                "warning:6: [a] connection_parameters__s3_use_copy: is not used: "
                "`s3_use_copy` means nothing here (an object appears whole, always): leave it out; remove it",
            ],
        ),
        (
            SERVER
            + "connection_parameters__config_kwargs__retries__max_attempts = 3\n"
            + "connection_parameters__config_kwargs__connect_timeout = 5\n"
            + "connection_parameters__nobodys__own = 5\n",
            [
                "warning:5: [a] connection_parameters__config_kwargs__retries__max_attempts: is not used: "
                "`retries` means nothing here (a busy place is asked again, and the job tries again what failed): "
                "leave it out; remove it",
                "warning:7: [a] connection_parameters__nobodys__own: is not used: "
                "no mover of these destinations knows it; remove it",
            ],
        ),
        (
            SERVER + "connection_parameters__client_kwargs__nobodys = 5\n",
            [
                ":5: [a] connection_parameters__client_kwargs__nobodys: `client_kwargs.nobodys` is not known; "
                "known are endpoint_url, region_name, use_ssl, verify, aws_access_key_id, aws_secret_access_key, "
                "aws_session_token; see docs/configuration.md#connection-parameters"
            ],
        ),
        (
            SERVER + "ssh_connection_timeout = soon\n",
            [
                ":5: [a] ssh_connection_timeout: 'soon' is no duration; "
                "write it like 30 s, 5 min, 200 ms, 2 h or 1 d; see docs/configuration.md#connection-parameters"
            ],
        ),
        (SERVER + "colour = red\n", ["warning:5: [a] colour: is read by nobody; remove it"]),
        (SERVER + "publisher_port = 9010\n", []),
        (
            SERVER + "publish_port = 9011\n",
            ["warning:5: [a] publish_port: is not read; the port is 9010; give another one with -p"],
        ),
        (
            SERVER + "origin_inotify_base_dir_skip_levels = -2\n",
            [
                "warning:5: [a] origin_inotify_base_dir_skip_levels: is not needed; "
                "directories with fields are watched anyway; remove it"
            ],
        ),
        (SERVER + "unpack = tar\n", ["warning:5: [a] unpack: does nothing beside `request_port`; remove it"]),
        (
            SERVER.replace("/a", "a"),
            ["warning:3: [a] topic: begins without /, and is taken as /a; write the slash"],
        ),
        (SERVER + "delete = maybe\n", [":5: [a] delete: 'maybe' does not fit; give yes or no"]),
        (SERVER + "info = sensor\n", [":5: [a] info: a part has no `=`; write it as key=value;key2=a,b"]),
        (
            SERVER + "connection_parameters__a = x\nconnection_parameters__a__b = y\n",
            [":6: [a] connection_parameters__a__b: is a block and a value at once; rename one of the two"],
        ),
        (
            SERVER.replace("9092", "9092 ; requests"),
            [
                ":4: [a] request_port: '9092 ; requests' does not fit; "
                "give a port from 0 (any free one) to 65535"
            ],
        ),
        (
            SERVER.replace("topic = /a\n", "").replace("{n}.dat", ""),
            [
                ":1: [a] topic: is missing; give a topic like /1b/hrit",
                ":2: [a] origin: '/in/' names no file; end it with a pattern for the files' names, without `..`",
            ],
        ),
        (
            "[DEFAULT]\nrequest_port = 9092\n[a]\norigin = /a\ntopic = /a\n[b]\norigin = /b\ntopic = /b\n",
            [
                ":2: [DEFAULT] request_port: port 9092 is taken already, for taking the requests of a; choose another"
            ],
        ),
        (
            SERVER + "topic = /b\n[a]\n",
            [
                ":5: [a] topic: stands here twice (first in line 3); keep one of the two",
                ":6: [a]: stands here twice (first in line 1); merge or rename one",
            ],
        ),
        (SERVER + "a word\n", [":5: [a]: a line without `key = value`; complete or remove it"]),
        ("x = y\n" + SERVER, [":1: stands before the first [section]; put it into one"]),
        ("[DEFAULT]\norigin = /x\n", [":1: has no section; add one per chain: [name]"]),
        (
            "[a]\nx = y\n",
            [":1: does not tell whose file it is; add `origin` (server) or `providers` (client)"],
        ),
        (
            CLIENT.replace("b:9010", "b"),
            [":2: [a] providers: 'b' is no provider; give host:port, or host:port/topic"],
        ),
        (
            CLIENT.replace("providers = b:9010\n", ""),
            [":1: [a] providers: is missing; give a list of host:port or host:port/topic"],
        ),
        (
            CLIENT.replace("topic = /a\n", ""),
            [
                ":1: [a] topic: nothing says what to hear from b:9010; "
                'add a topic (`""` for everything), here or behind the provider'
            ],
        ),
        (CLIENT + "heartbeat = maybe\n", [":6: [a] heartbeat: 'maybe' does not fit; give True or False"]),
        (
            CLIENT + "publisher_port = 9010\n",
            [
                "warning:6: [a] publisher_port: replaces the metadata item of this name; "
                "or did you mean `publish_port`?"
            ],
        ),
        (
            CLIENT.replace("file:///out/", "sftp://u:planted@h/out/"),
            ["warning:4: [a] destination: holds credentials, which are not used; put them into `login`"],
        ),
        (
            CLIENT.replace("file:///out/", "/out /other"),
            [
                "warning:4: [a] destination: is one path with a blank in it; "
                "for two destinations, write two sections"
            ],
        ),
    ],
)
def test_told(tmp_path, text, lines):
    assert told(tmp_path, text) == lines


def test_a_file_for_another_role(tmp_path):
    assert told(tmp_path, CLIENT, role="server") == [
        ":1: this file is for a client, not for a server; start `tranship client` with it"
    ]


def test_a_whole_section_is_not_dropped_because_another_is_broken(tmp_path):
    """Trollmoves drops a section without a topic silently; here nothing starts, and the other section is told too."""
    text = (
        CLIENT.replace("topic = /a\n", "")
        + "[b]\nproviders = x\ndestination = /o\ntopic = /b\npublish_port = 1\n"
    )
    assert [line.split(" ")[1] for line in told(tmp_path, text)] == ["[a]", "[b]"]


def test_a_server_that_stands_alone_unpacks_too(tmp_path):
    alone = SERVER.replace(
        "request_port = 9092\n", "compression = bzip\nworking_directory = /work\nunpack = zip\n"
    )
    found = chain(tmp_path, alone + "remove_delay = 60\n")
    assert found.unpack == Unpack(format="bzip2", directory="/work", keep=timedelta(minutes=1))
    assert (found.request, found.filesystem.archive) == (None, "zip")
    assert chain(tmp_path, alone).unpack.keep == timedelta(days=1)
