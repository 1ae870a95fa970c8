"""locate: where the file of a message lies: at a URL that a mover reads, or in a file system of fsspec.

Messages come from strangers. What is read of them is where the file is, never who we are: logins are the
configuration's, and so is every option that could send one elsewhere.
"""

import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tranship.core.allow import EVERYTHING, Allowed
from tranship.core.values import Unusable
from tranship_movers.errors import MoverError
from tranship_movers.place import Place, shown
from tranship_movers.registry import known_schemes

LOCAL = frozenset({"file", "local", "memory"})
"""Schemes of what only this host has. Like those of fsspec's alone, some of which lead here: never by `**`."""


@dataclass(frozen=True, slots=True)
class Located:
    """Where a file lies. url holds no credentials.

    filesystem: fsspec's JSON for what no mover of ours speaks ("": the mover of place is used), path: the name in it.
    parameters: what the message says of the place, as far as no login can be led astray by it.
    """

    url: str
    place: Place
    filesystem: str = ""
    path: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file's own name."""
        return posixpath.basename(self.path or self.place.path)


def locate(items: Mapping[str, Any], source: str | None = None) -> Located:
    """Where the file with these items lies; with a source (a folder's URL), there, under its own name.

    Raises Unusable.
    """
    try:
        if source is not None:
            told = str(items.get("uri", ""))
            name = posixpath.basename(told.partition("?")[0] if "://" in told else told)
            return _at(Place.parse(source).below(name))
        if "filesystem" in items and isinstance(items.get("path"), str):
            return _in_filesystem(items["filesystem"], items["path"])
        uri = items.get("uri")
        if not isinstance(uri, str) or not uri:
            raise Unusable("the message says nowhere where the file is")
        if "::" in uri:
            return _chained(uri)
        if "://" not in uri and not uri.startswith("/"):
            raise Unusable("its `uri` is neither a URL nor a full path")
        return _at(Place.parse(uri))
    except MoverError as error:
        raise Unusable(str(error)) from None


def allowed(located: Located, patterns: Allowed) -> bool:
    """Whether files may be fetched from there."""
    if located.place.scheme not in known_schemes() - LOCAL:
        return Allowed([pattern for pattern in patterns.patterns if pattern != EVERYTHING])(located.place)
    return patterns(located.place)


def schemes_of(patterns: Allowed) -> frozenset[str]:
    """The schemes of file systems that messages may describe; archives may lie in any of them."""
    named = {p.partition("://")[0].lower() for p in patterns.patterns if p != EVERYTHING}
    every = known_schemes() - LOCAL if EVERYTHING in patterns.patterns else frozenset()
    return frozenset(named | every | _ARCHIVES.keys())


_ARCHIVES: Mapping[str, str] = {
    "zip": "fsspec.implementations.zip:ZipFileSystem",
    "tar": "fsspec.implementations.tar:TarFileSystem",
}
_HARMLESS = ("anon", "endpoint_url", "client_kwargs", "use_ssl", "requester_pays")
_OURS: Mapping[str, str] = {"ssh": "sftp", "s3a": "s3"}


def _at(place: Place) -> Located:
    if ".." in place.path.split("/") or place.path.endswith("/"):
        raise Unusable(f"{shown(str(place))[:200]} names no file, or climbs")
    return Located(str(place), place)


def _chained(uri: str) -> Located:
    """Member of an archive: zip://member::https://host/archive.zip."""
    first, _, rest = uri.partition("::")
    scheme, _, member = first.partition("://")
    if scheme not in _ARCHIVES or "::" in rest:
        raise Unusable("its `uri` is chained of what can't be read here")
    return _in_archive(scheme, Place.parse(rest), member.lstrip("/"))


def _in_filesystem(described: object, path: str) -> Located:
    """A file system as fsspec writes it down: its JSON, or what that holds."""
    try:
        told = json.loads(described) if isinstance(described, str) else described
    except (ValueError, RecursionError):
        told = None
    scheme = told.get("protocol") if isinstance(told, dict) else None
    if not isinstance(told, dict) or not isinstance(scheme, str):
        raise Unusable("its `filesystem` is none")
    ours = _OURS.get(scheme, scheme)
    if ours in known_schemes():
        return _of_ours(ours, told, path)
    if scheme not in _ARCHIVES:
        raise Unusable(f"file systems of {scheme[:50]!r} can't be read here")
    if told.get("cls", _ARCHIVES[scheme]).replace(":", ".") != _ARCHIVES[scheme].replace(":", "."):
        raise Unusable("its `filesystem` has a class of its own")
    return _in_archive(scheme, _archive(told), path)


def _in_archive(scheme: str, place: Place, member: str) -> Located:
    """Member of the archive at place. What fsspec is told of it is written here: nothing of a message gets there."""
    where = _at(place)
    if not member or any(letter in member for letter in "\0\r\n") or not _is_text(member):
        raise Unusable("its `path` is none")
    told = {"cls": _ARCHIVES[scheme], "protocol": scheme, "args": [], "fo": _as_fsspec_reads(place)}
    return Located(where.url, where.place, json.dumps({**told, "target_protocol": place.scheme}), member)


def _as_fsspec_reads(place: Place) -> str:
    """The URL (a path, of this host) that means place to fsspec, which decodes nothing and makes chains of `::`."""
    if place.scheme in ("http", "https"):
        url = f"{place}?{place.query}" if place.query else str(place)
    else:
        url = place.path if place.scheme in LOCAL else str(place.at("/")).removesuffix("/") + place.path
        if place.scheme not in LOCAL and ("?" in url or "#" in url):
            raise Unusable("its archive has a name that fsspec would not take as it is")
    if "::" in url:
        raise Unusable("its archive has a name, or a host, that fsspec would take for a chain")
    return url


def _archive(told: Mapping[str, Any]) -> Place:
    """Where an archive lies that a file system is in."""
    arguments, target = told.get("args"), told.get("target_protocol")
    link = told.get("fo", arguments[0] if isinstance(arguments, list) and arguments else None)
    if not isinstance(link, str) or "::" in link:
        raise Unusable("its `filesystem` is in nothing that can be read here")
    if "://" in link or target in (None, "file", "local"):
        return Place.parse(link)
    if not isinstance(target, str):
        raise Unusable("its `target_protocol` is none")
    options = told.get("target_options")
    host = _host(target, options if isinstance(options, dict) else {})
    return host.at(link if link.startswith("/") else f"/{link}")


def _of_ours(scheme: str, told: Mapping[str, Any], path: str) -> Located:
    if "://" in path:
        located = _at(Place.parse(path))
        if located.place.scheme not in (scheme, f"{scheme}s"):
            raise Unusable("its `path` is of another kind than its `filesystem`")
    elif scheme == "s3":
        located = _at(Place.parse(f"s3://{path.lstrip('/').replace('%', '%25')}"))
    else:
        located = _at(_host(scheme, told).at(path if path.startswith("/") else f"/{path}"))
    harmless = {key: told[key] for key in _HARMLESS if key in told} if told.get("anon") is True else {}
    return Located(located.url, located.place, parameters=harmless)


def _host(scheme: str, told: Mapping[str, Any]) -> Place:
    arguments = told.get("args")
    first = arguments[0] if isinstance(arguments, list) and arguments else ""
    host, port = told.get("host", first), told.get("port")
    if not isinstance(host, str) or (port is not None and not isinstance(port, int)):
        raise Unusable("its `filesystem` names no host")
    return Place.parse(f"{scheme}://{host.rpartition('@')[2]}{f':{port}' if port else ''}")


def _is_text(text: str) -> bool:
    """Whether text can be written down: JSON can say what is no valid Unicode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def without_secrets(items: Mapping[str, Any]) -> dict[str, Any]:
    """The items, without what may be a secret of where the file is: it is neither kept nor used."""
    told = dict(items)
    if isinstance(told.get("uri"), str):
        told["uri"] = _LOGIN.sub(r"\g<scheme>", told["uri"])
    if "filesystem" in told:
        described = told["filesystem"]
        try:
            plain = json.loads(described) if isinstance(described, str) else described
        except ValueError:
            plain = None
        told["filesystem"] = _without_secrets(plain)
    return told


_LOGIN = re.compile(r"(?P<scheme>(^|::)[A-Za-z][A-Za-z0-9+.-]*://)[^/]*@")
_SECRET_KEY = re.compile(r"secret|passw|passphrase|token|^key$|^pkey$")


def _without_secrets(told: object) -> Any:
    if isinstance(told, dict):
        return {key: _without_secrets(inner) for key, inner in told.items() if not _SECRET_KEY.search(key)}
    if isinstance(told, list):
        return [_without_secrets(inner) for inner in told]
    return _LOGIN.sub(r"\g<scheme>", told) if isinstance(told, str) else told
