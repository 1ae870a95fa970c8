"""Reading a configuration file: whatever it is written in, typed options come out, or all that is wrong."""

import copy
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from tranship.config.checks import (
    Folders,
    check_client,
    check_mirror,
    check_secrecy,
    check_server,
    on_disk,
    taken_on_trust,
)
from tranship.config.clean import CleanChain, CleanConfig, clean_tree
from tranship.config.client import ClientChain, ClientConfig
from tranship.config.convert import converted
from tranship.config.curve import check_curve
from tranship.config.dispatcher import DispatcherChain, DispatcherConfig
from tranship.config.endpoints import NameServers, Socket
from tranship.config.fetch import FetchChain, FetchConfig
from tranship.config.findings import ConfigError, Finding, Place, Report, listed, nearest
from tranship.config.inherit import with_defaults
from tranship.config.ini_file import Section, looks_like_ini
from tranship.config.judge import judged
from tranship.config.kinds import Options, given
from tranship.config.legacy import kind_of, read_sections
from tranship.config.legacy.client import CLIENT, client_tree
from tranship.config.legacy.mirror import mirror_tree
from tranship.config.legacy.move import move_tree
from tranship.config.legacy.posttroll import with_posttrolls_keys
from tranship.config.legacy.server import SERVER, server_tree
from tranship.config.legacy_yaml import modernised
from tranship.config.logins import Unseen, with_login
from tranship.config.mirror import MirrorChain, MirrorConfig
from tranship.config.move import MoveChain, MoveConfig
from tranship.config.moving import Moves
from tranship.config.moving_checks import check_dispatcher, check_fetch, check_move
from tranship.config.server import ServerChain, ServerConfig, Watch
from tranship.config.tree import Tree
from tranship.config.yaml_file import read_yaml

Config = ServerConfig | ClientConfig | MirrorConfig | DispatcherConfig | FetchConfig | MoveConfig
M = TypeVar("M", bound=Moves)
W = TypeVar("W", ServerChain, MoveChain)
C_co = TypeVar("C_co", bound=Config, covariant=True)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[C_co]):
    """A configuration, and what is odd about it."""

    config: C_co
    warnings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says over the file; None: nothing."""

    publish_port: int | None = None
    name_servers: tuple[str, ...] | None = None
    lookup: str | None = None
    watch: Watch | None = None
    backlog: bool | None = None


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What else matters beside the file: how folders are judged, and files that can't be seen from here."""

    overrides: Overrides
    folders: Folders
    unseen: Unseen


@dataclass(frozen=True, slots=True)
class Reading:
    """How a role's file is read: its options, those of its chains, what is checked and added, its old INI form."""

    config: type[Options]
    chain: type[Options]
    check: Callable[[Any, Tree, Report, Circumstances], Any]
    ini: Callable[[list[Section], Report, Overrides], Tree] | None = None


def load(
    path: str | Path,
    role: str | None = None,
    *,
    overrides: Overrides = Overrides(),
    folders: Folders = on_disk,
) -> Loaded[Any]:
    """Read the file path for role (None: for the role that the file is for); the config is of the role's own class.

    YAML, or a file of Trollmoves; which of the two it is, its content tells. `folders` judges the
    folders that are to be watched. Raises ConfigError, which holds everything that is wrong.
    """
    path = Path(path)
    return _loaded(*_read(path, role, overrides), path, Circumstances(overrides, folders, _unseen(role)))


def convert(path: str | Path, role: str | None = None, *, overrides: Overrides = Overrides()) -> str:
    """The YAML file that means what the file path of Trollmoves does. Raises ConfigError, also if it is none."""
    path = Path(path)
    tree, report = _read(path, role, overrides)
    if tree.glue != " " and not tree.old:
        raise report.stop(Place(1), "is no file of Trollmoves", "there is nothing to convert")
    value = copy.deepcopy(tree.value)
    loaded = _loaded(tree, report, path, Circumstances(overrides, taken_on_trust, "warn"))
    return converted(replace(tree, value=value), loaded.warnings)


def _read(path: Path, role: str | None, overrides: Overrides) -> tuple[Tree, Report]:
    report = Report(str(path))
    return _tree(_text(path, report), role, report, overrides), report


def _unseen(role: str | None) -> Unseen:
    return "warn" if role is None else "error"


def _loaded(tree: Tree, report: Report, path: Path, around: Circumstances) -> Loaded[Any]:
    named = tree.value["role"]
    reading = ROLES[named]
    if "journal" in reading.config.model_fields:
        tree.value.setdefault("journal", str(default_journal(path)))
    config = judged(reading.config, tree, report, _hints(named))
    if config is not None:
        config = reading.check(config, tree, report, around)
        check_curve(config, tree, report)
    if config is None or report.errors:
        raise ConfigError(report.errors)
    if not isinstance(config, CleanConfig):  # it has none
        check_secrecy(config, path, report)
    return Loaded(config, report.warnings)


def default_journal(path: Path) -> Path:
    """Where the journal of the configuration file path is, if it does not say."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    own = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return (Path(given) if given else Path(own, "tranship")) / f"{path.stem}.journal"


def _text(path: Path, report: Report) -> str:
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise report.stop(
            Place(0), f"can't be read: {error.strerror}", "is this the path, and may this user read it?"
        ) from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise report.stop(Place(line), "is not written in UTF-8", "save the file as UTF-8") from None
    if not text.strip():
        raise report.stop(Place(0), "is empty", "see config/ for examples")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _tree(text: str, role: str | None, report: Report, overrides: Overrides) -> Tree:
    tree = _plain_tree(text, role, report, overrides)
    return with_posttrolls_keys(tree, report, os.environ)


def _plain_tree(text: str, role: str | None, report: Report, overrides: Overrides) -> Tree:
    if looks_like_ini(text):
        return _ini_tree(text, role, report, overrides)
    tree = read_yaml(text, report)
    if tree is None:
        raise ConfigError(report.errors)
    old = modernised(tree, report, overrides.publish_port, overrides.name_servers)
    if old is not None:
        _check_role(old.value["role"], role, Place(1), report)
        return old
    named = str(tree.value.setdefault("role", role) or "")
    if named not in ROLES:
        raise report.stop(tree.place(("role",)), *_no_role(named))
    _check_role(named, role, tree.place(("role",)), report)
    return with_defaults(tree, report)


def _ini_tree(text: str, role: str | None, report: Report, overrides: Overrides) -> Tree:
    sections = read_sections(text, report)
    kind = kind_of(sections) or role
    if not sections:
        raise ConfigError(report.errors)
    if kind is None:
        raise report.stop(
            Place(1), "does not tell whose file it is", "add `origin` (server) or `providers` (client)"
        )
    reading = ROLES.get(kind)
    if reading is None or reading.ini is None:
        raise report.stop(
            Place(1), f"is a file of Trollmoves' {kind}, which is not done yet", "keep Trollmoves for it"
        )
    _check_role(kind, role, Place(1), report)
    return reading.ini(sections, report, overrides)


def _no_role(named: str) -> tuple[str, str]:
    if not named:
        return "is missing", f"begin the file with `role: server` (or {listed(ROLES)})"
    meant = nearest(named, ROLES)
    return f"{given(named)} is no role", f"did you mean `{meant}`?" if meant else f"give {listed(ROLES)}"


def _check_role(named: str, role: str | None, place: Place, report: Report) -> None:
    if role is not None and named != role:
        raise report.stop(
            place, f"this file is for a {named}, not for a {role}", f"start `tranship {named}` with it"
        )


def _server(config: ServerConfig, tree: Tree, report: Report, around: Circumstances) -> ServerConfig:
    return check_server(_overridden(config, around.overrides), tree, report, around.folders)


def _overridden(config: ServerConfig, overrides: Overrides) -> ServerConfig:
    chains = _seen(config.chains, overrides)
    port = config.publish.port if overrides.publish_port is None else overrides.publish_port
    publish = config.publish.model_copy(update={"port": port})
    return config.model_copy(update={"chains": chains, "publish": publish})


def _seen(chains: Mapping[str, W], said: Overrides) -> dict[str, W]:
    """Chains that watch, as the command line says."""
    changes = {"watch": said.watch, "backlog": said.backlog}
    told = {key: value for key, value in changes.items() if value is not None}
    return {name: chain.model_copy(update=told) for name, chain in chains.items()}


def _client(config: ClientConfig, tree: Tree, report: Report, around: Circumstances) -> ClientConfig:
    check_client(config, tree, report)
    chains = {
        name: with_login(chain, tree.place(("chains", name, "login_file")), report, around.unseen)
        for name, chain in config.chains.items()
    }
    return config.model_copy(update={"chains": chains})


def _mirror(config: MirrorConfig, tree: Tree, report: Report, around: Circumstances) -> MirrorConfig:
    port = config.publish.port if around.overrides.publish_port is None else around.overrides.publish_port
    publish = config.publish.model_copy(update={"port": port})
    config = check_mirror(config.model_copy(update={"publish": publish}), tree, report)
    chains = {
        name: with_login(chain, tree.place(("chains", name, "login_file")), report, around.unseen)
        for name, chain in config.chains.items()
    }
    return config.model_copy(update={"chains": chains})


def _clean(config: CleanConfig, tree: Tree, report: Report, around: Circumstances) -> CleanConfig:
    del around
    if not config.chains and not report.errors:
        report.error(tree.place(("chains",)), "holds no chain", "add one")
    return config


def _dispatcher(
    config: DispatcherConfig, tree: Tree, report: Report, around: Circumstances
) -> DispatcherConfig:
    return check_dispatcher(_published(config, around.overrides), tree, report, around.unseen)


def _fetch(config: FetchConfig, tree: Tree, report: Report, around: Circumstances) -> FetchConfig:
    config = _published(config, around.overrides)
    if around.overrides.lookup is not None:
        lookup = {"lookup": (around.overrides.lookup,)}
        chains = {name: chain.model_copy(update=lookup) for name, chain in config.chains.items()}
        config = config.model_copy(update={"chains": chains})
    return check_fetch(config, tree, report, around.unseen)


def _move(config: MoveConfig, tree: Tree, report: Report, around: Circumstances) -> MoveConfig:
    config = _published(config, around.overrides)
    chains = _seen(config.chains, around.overrides)
    config = config.model_copy(update={"chains": chains})
    return check_move(config, tree, report, around.folders, around.unseen)


def _published(config: M, said: Overrides) -> M:
    """The config, published as the command line says."""
    changes: dict[str, object] = {}
    if said.publish_port is not None:
        own = config.publish or Socket(port=0)
        changes["publish"] = own.model_copy(update={"port": said.publish_port})
    if said.name_servers is not None:
        changes["nameservers"] = NameServers(said.name_servers)
    return config.model_copy(update=changes)


ROLES: Mapping[str, Reading] = MappingProxyType(
    {
        "server": Reading(
            ServerConfig,
            ServerChain,
            _server,
            lambda sections, report, said: server_tree(sections, report, said.publish_port),
        ),
        "client": Reading(
            ClientConfig, ClientChain, _client, lambda sections, report, _: client_tree(sections, report)
        ),
        "mirror": Reading(
            MirrorConfig,
            MirrorChain,
            _mirror,
            lambda sections, report, said: mirror_tree(sections, report, said.publish_port),
        ),
        "clean": Reading(
            CleanConfig, CleanChain, _clean, lambda sections, report, _: clean_tree(sections, report)
        ),
        "dispatcher": Reading(DispatcherConfig, DispatcherChain, _dispatcher),
        "fetch": Reading(FetchConfig, FetchChain, _fetch),
        "move": Reading(
            MoveConfig,
            MoveChain,
            _move,
            lambda sections, report, said: move_tree(sections, report, said.publish_port),
        ),
    }
)


def _hints(role: str) -> Mapping[str, str]:
    """What to do with keys that another program, or another role, has."""
    here = ROLES[role].chain.model_fields.keys()
    other = {
        key: f"it is an option of a {name}"
        for name, there in reversed(list(ROLES.items()))
        for key in there.chain.model_fields.keys() - here
    }
    old = {key: old.becomes for key, old in (*SERVER.items(), *CLIENT.items()) if key != old.becomes}
    if role == "server":
        other["retry"] = "it is an option of clients: what a server moves for one, that one has tried again"
    return other | {key: f"it is called `{new}` now" for key, new in old.items()}
