"""Whatever a valid file of Trollmoves says, it says to us, and so does what it is converted into."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from trollmoves import client as their_client
from trollmoves import server as their_server

from tranship.config import ConfigError, load, taken_on_trust
from tranship.config.load import convert
from tranship.config.server import ServerConfig

NASTY = [
    *("yes", "no", "on", "null", "~", "True", "012", "0x1f", "1e3", "1_000", "12:30", "2026-11-22", ".5", "-", "?"),
    *("- a", "a: b", "a:", ": a", "a #b", "#b", "'a'", '"a', "{a}", "[a", "&a", "*a", "!a", "|", ">", "%a", "@a", "`a"),
    *("a, b", "<<", "=", "a=b", "\\n", "ä", "日", "\u2028x", "\x7f", "a\tb", "=1", "50%", "%(x)s", "$HOME", "a;b"),
]  # fmt: skip
WORDS = st.sampled_from(NASTY) | st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8
)
TEXT = WORDS.map(str.strip).filter(lambda text: "\n" not in text and "\r" not in text)
NAME = st.sampled_from(
    ["a", "a-b", "a.b", "0", "012", "yes", "null", "ä", "a:b", "#a", "{a}", "1e3", "~", "'a'"]
)
KEY = st.sampled_from(["sensor", "variant", "yes", "null", "012", "a-b", "a.b", "ä", "~x", "#x", "{x}", "on"])
SWITCH = st.sampled_from(["True", "False", "yes", "no", "on", "off", "1", "0", "TRUE"])
SECONDS = st.sampled_from(["1", "30", "012", "0.5", "1.25", "600"])
WHOLE = st.sampled_from(["1", "30", "012", "600"])
TOPIC = st.sampled_from(["/1b/hrit", "/a-b", "/yes", "/ä", "/#a", "/{a}", "/'a", "/a:b", ""])
INFO = st.lists(
    st.tuples(KEY, TEXT.filter(lambda text: not set("=;") & set(text))), min_size=1, max_size=3
).map(lambda pairs: ";".join(f"{key}={value.strip()}" for key, value in pairs))
DEEP = ("secret", "key", "profile", "client_kwargs__endpoint_url", "client_kwargs__region_name")
PARAMETERS = st.dictionaries(st.sampled_from(DEEP), TEXT.filter(bool), max_size=3).map(
    lambda found: {f"connection_parameters__{key}": value for key, value in found.items()}
)


def some(**options: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, str]]:
    """Some of these options."""
    return st.fixed_dictionaries({}, optional=options)


def sections(*parts: st.SearchStrategy[dict[str, str]]) -> st.SearchStrategy[str]:
    """The text of a file of one or two sections, of all parts; ports are told apart."""
    section = st.tuples(*parts).map(lambda found: {k: v for part in found for k, v in part.items()})
    return st.dictionaries(NAME, section, min_size=1, max_size=2).map(_ini)


def _ini(found: dict[str, dict[str, str]]) -> str:
    lines = []
    for n, (name, options) in enumerate(found.items()):
        lines += [
            f"[{name}]",
            *(f"{key} = {value.replace('PORT', str(9100 + n))}" for key, value in options.items()),
        ]
    return "\n".join(lines) + "\n"


ORIGIN = st.sampled_from(
    ["/in/{n}.dat", "/in/50%/{n:_<6s}-{o:05d}'#", "/in x/{t:%Y%m%d}: {n}", "/ä/{a}_{b}/{n}"]
)
SERVER = sections(
    st.fixed_dictionaries({"origin": ORIGIN, "topic": TOPIC, "request_port": st.just("PORT")}),
    some(info=INFO, station=TEXT, delete=SWITCH, remove_delay=WHOLE, watchdog_timeout=SECONDS),
    some(compression=st.just("bzip"), working_directory=st.sampled_from(["/w", "/w x", "/yes", "/ä#"])),
    some(connection_uptime=WHOLE, ssh_key_filename=TEXT.filter(bool)),
    PARAMETERS,
)
DESTINATION = st.sampled_from(
    ["/out", "/o ut/{t:%Y%m%d}/", "sftp://h/out/{n}", "s3://b", "file:///50%/#'{a}/", "ftp://h:21/x/"]
)
REPLACED = st.dictionaries(
    KEY,
    st.sampled_from(["a:b|c:d", "yes:no", "1:2", "x:|y:"]) | TEXT.filter(lambda t: "|" not in t),
    max_size=3,
)
ASKS = some(
    login=st.sampled_from(["user", "user:pa ss'w\"ö#: {x}", "u:012", "null:no"]),
    req_timeout=SECONDS,
    transfer_req_timeout=SECONDS,
    create_target_directory=SWITCH,
    heartbeat=SWITCH,
    heartbeat_alarm_scale=st.sampled_from(["0", "1.5", "10"]),
)
CLIENT = sections(
    st.fixed_dictionaries(
        {"providers": st.sampled_from(["h:1", "h:1/x i:2", "tcp://h:1", "[::1]:3"]), "topic": TOPIC}
    ),
    st.fixed_dictionaries({"destination": DESTINATION}),
    some(
        publish_port=st.just("PORT"), nameservers=st.sampled_from(["False", "True", "a b", "0", "no.example"])
    ),
    some(processing_delay=SECONDS, backup_targets=st.sampled_from(["a b", "a", ""]), delete=SWITCH),
    ASKS,
    REPLACED,
)
MIRROR = sections(
    st.fixed_dictionaries(
        {"providers": st.just("h:1 i:2/x"), "client_topic": TOPIC, "request_port": st.just("PORT")}
    ),
    st.fixed_dictionaries({"destination": st.sampled_from(["/out", "ftp:///o ut/", "scp:///x'#"])}),
    some(station=TEXT, delay=SECONDS, delete=SWITCH, remove_delay=WHOLE),
    ASKS,
    PARAMETERS,
)
MOVE = sections(
    st.fixed_dictionaries({"origin": ORIGIN}),
    st.fixed_dictionaries(
        {"destinations": st.sampled_from(["/out", "/out ftp://u:p'#@h/x file:///y/", "sftp://u@h/x"])}
    ),
    some(topic=TOPIC, info=INFO, delete=SWITCH, watchdog_timeout=SECONDS),
)
CLEAN = sections(
    st.fixed_dictionaries({"base_dir": st.sampled_from(["/a", "/ä b", "/x#'", "/50%"]), "days": WHOLE}),
    st.fixed_dictionaries(
        {"templates": st.sampled_from(["*", "*.nc,a b/*,'x'", "[ab]?/*,# x", "/abs/*,x/", "{a}/*: b"])}
    ),
    some(hours=WHOLE, minutes=WHOLE, stat_time_method=st.sampled_from(["st_ctime", "st_mtime", "st_atime"])),
    some(recursive=SWITCH, include_hidden=SWITCH, mailhost=st.just("h"), to=st.just("a@b,c@d"), subject=TEXT),
)

VALUE: st.SearchStrategy[Any] = TEXT | st.integers() | st.booleans() | st.none()
ITEMS = st.dictionaries(KEY, VALUE, max_size=3)
CONDITION = st.dictionaries(KEY, VALUE.filter(lambda v: v is not None and str(v)[:1] not in "<>=!") | st.sampled_from(
    ["<30", ">=0.5", "== 3"]) | st.lists(VALUE, max_size=3), max_size=3)  # fmt: skip
ALIASES = st.dictionaries(
    KEY,
    st.dictionaries(TEXT.filter(bool), VALUE, max_size=3)
    | st.just([{"_alias_name": "n", "a": "b"}, {"c": "d"}]),
    max_size=2,
)
PATTERN = st.sampled_from(["/out", "x/{a}", "/50%/{t:%Y%m%d}", "/'#: {a}", "/yes", "012"])
WAY = st.fixed_dictionaries(
    {"topics": st.lists(TOPIC, min_size=1, max_size=2)},
    optional={
        "conditions": st.lists(CONDITION, min_size=1, max_size=2),
        "host": st.sampled_from(["", "sftp://h", "ftp://u:p%23@h/"]),
        "directory": PATTERN,
        "filepattern": PATTERN,
        "aliases": ALIASES,
    },
)
TARGET = st.fixed_dictionaries(
    {"directory": PATTERN, "dispatch_configs": st.lists(WAY, min_size=1, max_size=2)},
    optional={
        "host": st.sampled_from(["", "sftp://h/", "s3://b/x"]),
        "filepattern": PATTERN,
        "publish_topic": PATTERN,
        "aliases": ALIASES,
        "connection_parameters": st.fixed_dictionaries(
            {}, optional={"connection_uptime": st.integers(1, 99)}
        ),
    },
)
DISPATCHER = st.dictionaries(NAME, TARGET, min_size=1, max_size=2).map(
    lambda t: yaml.safe_dump(t, allow_unicode=True)
)
S3 = st.fixed_dictionaries({}, optional={"anon": st.booleans(), "profile": TEXT.filter(bool), "client_kwargs": st.just(
    {"endpoint_url": "https://h:1", "verify": False})})  # fmt: skip
DOWNLOADER = st.fixed_dictionaries(
    {
        "subscribe-topic": st.lists(TOPIC, min_size=1, max_size=2) | TOPIC.filter(bool),
        "publish-topic": TOPIC.filter(bool),
    },
    optional={
        "bucket": st.sampled_from(["b", "b-1.x", "012"]),
        "download_destination": st.sampled_from(["/data", "./", "x y", "/ä#'"]),
        "services": st.lists(st.sampled_from(["a", "yes", "012"]), max_size=2) | st.just("a"),
        "subscriber_addresses": st.just("tcp://h:1,tcp://i:2"),
        "s3_kwargs": S3,
    },
).map(lambda found: yaml.safe_dump(found, allow_unicode=True))
FETCHER = st.fixed_dictionaries(
    {"destination": st.sampled_from(["/data/{a}", "x", "/'#: {t:%Y}"])},
    optional={
        "publisher_config": st.fixed_dictionaries({"name": st.sampled_from(["a", "yes"])}, optional={
            "port": st.integers(0, 9999), "nameservers": st.sampled_from([False, None, ["a"]])})},
).map(
    lambda found: yaml.safe_dump(
        found | {"subscriber_config": {"addresses": ["tcp://h:1"], "topics": ["/a"], "nameserver": False}}
    )
)  # fmt: skip

FILES = {
    "server": SERVER,
    "client": CLIENT,
    "mirror": MIRROR,
    "move": MOVE,
    "clean": CLEAN,
    "dispatcher": DISPATCHER,
    "s3downloader": DOWNLOADER,
    "fetcher": FETCHER,
}

STEADY = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.touch(0o600)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", FILES)
@STEADY
@given(data=st.data())
def test_what_it_is_converted_into_means_the_same(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    file = written(tmp_path / "it.old", data.draw(FILES[kind]))
    try:
        before = load(file, folders=taken_on_trust).config
    except ConfigError:
        assume(False)
    after = load(written(tmp_path / "new" / "it.yaml", convert(file)), folders=taken_on_trust).config
    assert after == before


@STEADY
@given(text=SERVER)
def test_a_server_reads_what_theirs_reads(tmp_path: Path, text: str) -> None:
    file = written(tmp_path / "it.ini", text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        theirs = their_server.read_config(str(file))
    try:
        ours: ServerConfig = load(file, folders=taken_on_trust).config
    except ConfigError:
        assume(False)
    assert list(ours.chains) == list(theirs)
    for name, chain in ours.chains.items():
        told = theirs[name]
        assert (chain.origin, str(chain.request.port)) == (told["origin"], told["request_port"])  # type: ignore[union-attr]
        assert chain.topic.lstrip("/") == told["topic"].lstrip("/")
        assert (chain.station, chain.delete) == (told.get("station", "unknown"), told["delete"])
        lists = {key: list(value) if isinstance(value, tuple) else value for key, value in chain.info.items()}
        assert lists == their_server._collect_attribute_info(told)
        said = {key: value for key, value in told["connection_parameters"].items() if value is not None}
        assert chain.connection_parameters.plain() == said


@STEADY
@given(text=CLIENT)
def test_a_client_reads_what_theirs_reads(tmp_path: Path, text: str) -> None:
    file = written(tmp_path / "it.ini", text)
    theirs = their_client.read_config(str(file))
    try:
        ours = load(file, folders=taken_on_trust).config
    except ConfigError:
        assume(False)
    assert list(ours.chains) == list(theirs)
    for name, chain in ours.chains.items():
        told = theirs[name]
        assert chain.topic.lstrip("/") == told["topic"].lstrip("/")
        assert (chain.login and chain.login.get_secret_value()) == told.get("login")
        assert chain.publish.port == told["publish_port"]
        assert chain.create_target_directory == told["create_target_directory"]
        assert list(chain.backup_targets) == (told["backup_targets"] or [])
        for key in chain.replace:
            assert key in told
