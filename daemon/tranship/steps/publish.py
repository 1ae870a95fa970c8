"""publish: tell downstream that a file has arrived, so that processing starts.

The message is the announcement's, with local `uri`s, `origin` = the server's request address, replaced metadata, and
without `request_address` and `destination`. Under `tranship` it keeps an `id`, the same one if it has to be repeated.
"""

import posixpath
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tranship.core.handover import Matter
from tranship.core.identity import apart
from tranship.wire.messages import Message, compose
from tranship_movers.place import Place


def local_message(
    subject: str,
    kind: str,
    data: Mapping[str, Any],
    *,
    place: Place,
    local: bool,
    about: Matter,
    client: str,
    replace: Mapping[str, Any],
    unpacked: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Message:
    """The message of type kind about what now lies at place (a folder, perhaps of this machine: local).

    about: which delivery it is; client: the id of who publishes it.
    replace: metadata by key; a value, or a dict from old to new values (others stay).
    unpacked: what packed files were unpacked to, as names below the folder of each, by its path: one file stands
    in the place of the packed one, several as a `dataset`.
    """
    lying = _localised(data, place, local=local)
    if unpacked:
        lying = _of_unpacked(lying, unpacked)
        kind = next((kind for kind in ("dataset", "collection") if kind in lying), "file")
    told: dict[str, Any] = {
        key: _replaced(value, replace[key]) if key in replace else value
        for key, value in lying.items()
        if key not in ("request_address", "destination", "tranship", "backup_targets")
    }
    told["origin"] = data.get("request_address", "")
    facts = lying.get("tranship")
    ours = (
        {key: facts[key] for key in ("size", "checksum") if key in facts} if isinstance(facts, dict) else {}
    )
    of = {"identity": about.identity, "server": about.server, "path": about.path}
    told["tranship"] = {"v": 1, **ours, "id": named(about), "client": client, "of": of}
    return compose(subject, kind, told)


def named(about: Matter) -> str:
    """The id of a delivery's message: the same, whoever publishes it; namesakes from two folders have two."""
    return apart(about.identity, about.path.rpartition("/")[0])


def uri_at(place: Place, folder: str, uid: str, *, local: bool) -> str:
    """Where the file uid lies, below folder of place: a path if that is on this machine, else a URL with the user."""
    whole = not folder and not place.path.endswith("/")  # the destination is the new name itself
    path = place.name_for(uid) if whole else posixpath.join(place.path, folder, uid)
    if local:
        return path
    return place.at(path).passwordless


def _localised(data: Mapping[str, Any], place: Place, *, local: bool) -> dict[str, Any]:
    changed = {key: _below(value, place, local=local) for key, value in data.items()}
    if "uri" in data and "uid" in data:
        folder = data.get("path", "")
        changed["uri"] = uri_at(
            place, folder if isinstance(folder, str) else "", str(data["uid"]), local=local
        )
    return changed


def _below(value: Any, place: Place, *, local: bool) -> Any:
    if isinstance(value, dict):
        return _localised(value, place, local=local)
    if isinstance(value, list):
        return [_below(item, place, local=local) for item in value]
    return value


def _of_unpacked(item: dict[str, Any], unpacked: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The same, telling of what was in the packed files instead of these."""
    uri = item.get("uri")
    told = {key: _of_unpacked_below(value, unpacked) for key, value in item.items()}
    if uri not in unpacked:
        return told
    packed = ("uri", "uid", "path", "tranship")  # what is said of the packed file's bytes is of no use
    told = {key: value for key, value in told.items() if key not in packed}
    folder = posixpath.dirname(str(uri))
    files = [{"uri": f"{folder}/{name}", "uid": posixpath.basename(name)} for name in unpacked[str(uri)]]
    return {**told, **files[0]} if len(files) == 1 else {**told, "dataset": files}


def _of_unpacked_below(value: Any, unpacked: Mapping[str, Sequence[str]]) -> Any:
    if isinstance(value, dict):
        return _of_unpacked(value, unpacked)
    if isinstance(value, list):
        return [_of_unpacked_below(item, unpacked) for item in value]
    return value


def _replaced(value: Any, replacement: Any) -> Any:
    if isinstance(replacement, Mapping):
        return replacement.get(value, value) if isinstance(value, str) else value
    return replacement
