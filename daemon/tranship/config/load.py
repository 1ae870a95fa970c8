"""Reading a configuration file: whatever it is written in, typed options come out, or all that is wrong."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, get_args, overload

from pydantic import SecretStr

from tranship.config.checks import Folders, check_client, check_secrecy, check_server, on_disk, open_to_others
from tranship.config.client import ClientChain, ClientConfig
from tranship.config.findings import ConfigError, Finding, Place, Report, nearest
from tranship.config.inherit import with_defaults
from tranship.config.ini_file import looks_like_ini
from tranship.config.judge import judged
from tranship.config.kinds import Options, given
from tranship.config.legacy import CLIENT, SERVER, client_tree, kind_of, read_sections, server_tree
from tranship.config.server import ServerChain, ServerConfig, Watch
from tranship.config.tree import Tree
from tranship.config.yaml_file import read_yaml

Role = Literal["server", "client"]
Config = ServerConfig | ClientConfig
C_co = TypeVar("C_co", bound=Config, covariant=True)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[C_co]):
    """A configuration, and what is odd about it."""

    config: C_co
    warnings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says over a server's file; None: nothing."""

    publish_port: int | None = None
    watch: Watch | None = None
    backlog: bool | None = None


@overload
def load(
    path: str | Path, role: Literal["server"], *, overrides: Overrides = ..., folders: Folders = ...
) -> Loaded[ServerConfig]: ...
@overload
def load(
    path: str | Path, role: Literal["client"], *, overrides: Overrides = ..., folders: Folders = ...
) -> Loaded[ClientConfig]: ...
@overload
def load(
    path: str | Path, role: None = None, *, overrides: Overrides = ..., folders: Folders = ...
) -> Loaded[Config]: ...
def load(
    path: str | Path,
    role: Role | None = None,
    *,
    overrides: Overrides = Overrides(),
    folders: Folders = on_disk,
) -> Loaded[Any]:
    """Read the file path for role (None: for the role that the file is for).

    YAML, or an INI file of Trollmoves; which of the two it is, its content tells. `folders` judges the
    folders that are to be watched. Raises ConfigError, which holds everything that is wrong.
    """
    path = Path(path)
    report = Report(str(path))
    tree = _tree(_text(path, report), role, report, overrides)
    tree.value.setdefault("journal", str(default_journal(path)))
    config = (
        _server(tree, report, overrides, folders)
        if tree.value["role"] == "server"
        else _client(tree, report, "warn" if role is None else "error")
    )
    if config is None or report.errors:
        raise ConfigError(report.errors)
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


def _tree(text: str, role: Role | None, report: Report, overrides: Overrides) -> Tree:
    if looks_like_ini(text):
        return _ini_tree(text, role, report, overrides)
    tree = read_yaml(text, report)
    if tree is None:
        raise ConfigError(report.errors)
    named = str(tree.value.setdefault("role", role) or "")
    if named not in get_args(Role):
        raise report.stop(tree.place(("role",)), *_no_role(named))
    _check_role(named, role, tree.place(("role",)), report)
    return with_defaults(tree, report)


def _ini_tree(text: str, role: Role | None, report: Report, overrides: Overrides) -> Tree:
    sections = read_sections(text, report)
    kind = kind_of(sections) or role
    if not sections:
        raise ConfigError(report.errors)
    if kind is None:
        raise report.stop(
            Place(1), "does not tell whose file it is", "add `origin` (server) or `providers` (client)"
        )
    if kind not in get_args(Role):
        raise report.stop(
            Place(1), f"is a file of Trollmoves' {kind}, which is not done yet", "keep Trollmoves for it"
        )
    _check_role(kind, role, Place(1), report)
    if kind == "client":
        return client_tree(sections, report)
    return server_tree(sections, report, overrides.publish_port)


def _no_role(named: str) -> tuple[str, str]:
    if not named:
        return "is missing", "begin the file with `role: server` or `role: client`"
    meant = nearest(named, get_args(Role))
    return f"{given(named)} is no role", f"did you mean `{meant}`?" if meant else "give server or client"


def _check_role(named: str, role: Role | None, place: Place, report: Report) -> None:
    if role is not None and named != role:
        raise report.stop(
            place, f"this file is for a {named}, not for a {role}", f"start `tranship {named}` with it"
        )


def _server(tree: Tree, report: Report, overrides: Overrides, folders: Folders) -> ServerConfig | None:
    config = judged(ServerConfig, tree, report, _hints(ServerChain, "client", ClientChain))
    if config is not None:
        config = _overridden(config, overrides)
        config = check_server(config, tree, report, folders)
    return config


def _overridden(config: ServerConfig, overrides: Overrides) -> ServerConfig:
    said = {"watch": overrides.watch, "backlog": overrides.backlog}
    chain_changes = {key: value for key, value in said.items() if value is not None}
    chains = {name: chain.model_copy(update=chain_changes) for name, chain in config.chains.items()}
    port = config.publish.port if overrides.publish_port is None else overrides.publish_port
    publish = config.publish.model_copy(update={"port": port})
    return config.model_copy(update={"chains": chains, "publish": publish})


def _client(tree: Tree, report: Report, unseen: Literal["warn", "error"]) -> ClientConfig | None:
    config = judged(ClientConfig, tree, report, _hints(ClientChain, "server", ServerChain))
    if config is None:
        return None
    check_client(config, tree, report)
    chains = {
        name: _with_login(chain, tree.place(("chains", name, "login_file")), report, unseen)
        for name, chain in config.chains.items()
    }
    return config.model_copy(update={"chains": chains})


def _with_login(
    chain: ClientChain, place: Place, report: Report, unseen: Literal["warn", "error"]
) -> ClientChain:
    if chain.login_file is None:
        return chain
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    path = Path(folder, chain.login_file.removeprefix("$CREDENTIALS_DIRECTORY/"))
    if not path.is_absolute():
        tell = report.warn if unseen == "warn" else report.error
        tell(
            place,
            "can't be looked at, as $CREDENTIALS_DIRECTORY is not set",
            "give a full path, or start by systemd",
        )
        return chain
    try:
        login = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        report.error(
            place, f"{path} can't be read: {getattr(error, 'strerror', 'no UTF-8')}", "mend path or rights"
        )
        return chain
    if "\n" in login or not login.partition(":")[0]:
        report.error(place, f"{path} holds no login", "write user:password there, in one line")
    if open_to_others(path):
        report.warn(place, f"everybody on this host may read {path}", f"chmod o-rwx {path}")
    return chain.model_copy(update={"login": SecretStr(login)})


def _hints(here: type[Options], role: Role, there: type[Options]) -> Mapping[str, str]:
    """What to do with keys that another program, or the other role, has."""
    other = dict.fromkeys(
        there.model_fields.keys() - here.model_fields.keys(), f"it is an option of a {role}"
    )
    old = {key: old.becomes for key, old in (*SERVER.items(), *CLIENT.items()) if key != old.becomes}
    return other | {key: f"it is called `{new}` now" for key, new in old.items()}
