"""posttroll's own settings: that connections are encrypted, and where name servers are.

They stand in the environment (POSTTROLL_BACKEND=secure_zmq) or, written small and without the prefix, in YAML files:
in /etc/posttroll, in etc/posttroll of the Python installation, in ~/.config/posttroll, in $POSTTROLL_CONFIG. What comes
later in this list wins, and the environment over all.
"""

import ast
import os
import site
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from tranship.config.endpoints import EVERYWHERE, Security
from tranship.config.findings import Place, Report
from tranship.config.tree import Tree

_PREFIX = "POSTTROLL_"

SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "server_secret_key_file": "secret_key_file",
        "clients_public_keys_directory": "clients",
        "authorized_client_addresses": "client_addresses",
        "server_public_key_file": "server_key_file",
        "client_secret_key_file": "client_secret_key_file",
    }
)
"""What each becomes in the block `curve`."""


_OLDER: Mapping[str, str] = MappingProxyType(
    {"NAMESERVER_PORT": "nameserver_port", "PYTROLL_MC_GROUP": "mc_group", "PYTROLL_MC_TTL": "mc_ttl"}
)
"""Variables that posttroll reads beside its settings; these win."""


def posttrolls_settings(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """All of posttroll's settings, by name. What can't be read has been told when the configuration was loaded."""
    older = {name: environ[variable] for variable, name in _OLDER.items() if environ.get(variable)}
    return older | _settings(Report("posttroll"), environ)


def with_posttrolls_keys(tree: Tree, report: Report, environ: Mapping[str, str]) -> Tree:
    """The tree with the block `curve` that posttroll's settings describe, if they do and it has none.

    What an old file has open becomes closed by keys.
    """
    if "curve" in tree.value:
        return tree
    curve = posttrolls_curve(report, environ)
    if curve is None:
        return tree
    places = dict(tree.places)
    places["curve",] = Place(0, f"{_PREFIX}BACKEND=secure_zmq")
    for old, new in SETTINGS.items():
        places["curve", new] = Place(0, _PREFIX + old.upper())
    value = {**{key: part for key, part in tree.value.items() if key != "chains"}, "curve": curve}
    if "chains" in tree.value:
        value["chains"] = tree.value["chains"]
    if tree.old:
        _close(value)
        report.withdraw("publishes on")
    return Tree(value, places, tree.glue, tree.old)


def posttrolls_curve(report: Report, environ: Mapping[str, str]) -> dict[str, Any] | None:
    """The block `curve` that posttroll's settings describe; None if they ask for no encryption."""
    settings = _settings(report, environ)
    backend = settings.get("backend", "unsecure_zmq")
    if backend == "unsecure_zmq":
        return None
    if backend != "secure_zmq":
        report.error(
            Place(0, f"{_PREFIX}BACKEND"), f"{backend!r} is no back-end", "give secure_zmq or unsecure_zmq"
        )
        return None
    curve = {new: settings[old] for old, new in SETTINGS.items() if settings.get(old)}
    curve.setdefault("secret_key_file", curve.get("client_secret_key_file"))
    if curve["secret_key_file"] is None:
        report.error(
            Place(0, f"{_PREFIX}SERVER_SECRET_KEY_FILE"),
            f"is missing, and {_PREFIX}BACKEND is secure_zmq",
            "name the file with the keys of this process",
        )
        return None
    if curve.get("client_secret_key_file") == curve["secret_key_file"]:
        del curve["client_secret_key_file"]
    for option, told in curve.items():
        if option == "client_addresses":
            curve[option] = told.replace(",", " ").split() if isinstance(told, str) else list(map(str, told))
        else:
            curve[option] = os.path.abspath(os.path.expanduser(str(told)))
    return curve


def _settings(report: Report, environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for file in _files(environ):
        try:
            told = yaml.safe_load(file.read_text("utf-8"))
        except OSError:
            continue  # as posttroll does: it may be for others
        except (yaml.YAMLError, UnicodeDecodeError):
            report.error(Place(0, str(file)), "can't be read as YAML", "mend it: posttroll reads it, too")
            continue
        if isinstance(told, dict):
            found |= {str(key).replace("-", "_"): value for key, value in told.items()}
    for name, text in environ.items():
        if name.startswith(_PREFIX):
            found[name.removeprefix(_PREFIX).lower()] = _literal(text)
    return found


def _files(environ: Mapping[str, str]) -> Iterator[Path]:
    home = Path(environ.get("HOME", "~")).expanduser()
    prefixes = (sys.prefix, *site.PREFIXES)
    places = [
        Path(environ.get(f"{_PREFIX}ROOT_CONFIG", "/etc/posttroll")),
        *(Path(prefix, "etc", "posttroll") for prefix in prefixes),
        home / ".config" / "posttroll",
        *([Path(environ[f"{_PREFIX}CONFIG"])] if environ.get(f"{_PREFIX}CONFIG") else []),
    ]
    for place in reversed(list(dict.fromkeys(reversed(places)))):
        try:
            names = sorted(os.listdir(place))
        except NotADirectoryError:
            yield place
        except OSError:
            continue
        else:
            yield from (place / name for name in names if name.lower().endswith((".json", ".yaml", ".yml")))


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _close(block: Any) -> None:
    """Have every socket that is open to all be closed by keys."""
    if isinstance(block, dict):
        if block.get("security") == Security.TRUSTED_NETWORK and block.get("bind") == EVERYWHERE:
            block["security"] = Security.CURVE
        for inner in block.values():
            _close(inner)
