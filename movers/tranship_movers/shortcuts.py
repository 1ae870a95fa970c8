"""One file, one line: `copy` and `move` for who has no daemon and no pool."""

import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from tranship_movers.errors import Permanent, SourceChanged, of_system
from tranship_movers.place import Place
from tranship_movers.registry import connect, options_for
from tranship_movers.transfer import Expected, Receipt, upload

Source = str | os.PathLike[str]


def copy(source: Source, url: str, options: Mapping[str, object] | None = None) -> Receipt:
    """Copy the local file source to url, whole and verified.

    With a trailing slash url is a folder, without one the new name. `options` are those of the protocol.
    Raises a MoverError that says what went wrong and what to do next.
    """
    return _delivered(Path(source), Place.parse(url), options or {}, None)


def move(source: Source, url: str, options: Mapping[str, object] | None = None) -> Receipt:
    """Copy the local file source to url, and remove source once its delivery is verified.

    Raises as `copy` does; source is there then.
    """
    path, place = Path(source), Place.parse(url)
    try:
        before = os.stat(path)
        if place.is_local and _is_at(place.name_for(path.name), before):
            raise Permanent("source and target are the same file", where=str(path))
        receipt = _delivered(path, place, options or {}, Expected(before.st_size, before.st_mtime_ns))
        now = os.stat(path)
        if (now.st_size, now.st_mtime_ns, now.st_ino) != (before.st_size, before.st_mtime_ns, before.st_ino):
            raise SourceChanged("was written to while it was moved, and is kept", where=str(path))
        os.unlink(path)
    except OSError as error:
        raise of_system(error, where=str(path)) from error
    return receipt


def _delivered(path: Path, place: Place, options: Mapping[str, object], expected: Expected | None) -> Receipt:
    chosen = options_for(place, options)
    with closing(connect(place.at("/"), chosen)) as mover:
        return upload(mover, path, place.name_for(path.name), expected=expected, options=chosen)


def _is_at(name: str, source: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(name), source)
    except OSError:
        return False
