"""unpack: what is in a packed file comes to lie under its own names, each whole or not at all.

Everything is made in a folder of its own, out of sight, and renamed into place at the end. After a crash the same is
simply done again: leavings are removed first, and results have the times of what they were packed from.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from tranship.packed import DAMAGE, READERS, Bounds, Broken, Hostile, Made, Plan, Stuck, UnpackError


def unpack(path: str, plan: Plan) -> tuple[str, ...]:
    """Unpack the file at path; the names of the results below its folder (or the plan's), in the archive's order.

    Blocking. Raises UnpackError; then no result was put into place, unless the disk failed in the middle of that.
    """
    folder = plan.folder or os.path.dirname(path)
    try:
        with _workshop(folder, path) as work:
            made = Made(work, Bounds(path, plan, folder))
            READERS[plan.format](path, plan, made)
            if not made.names:
                raise Broken(f"{path}: holds no file")
            return _put_in_place(work, folder, tuple(made.names), path)
    except UnpackError:
        raise
    except (OSError, *DAMAGE) as error:
        if (
            isinstance(error, OSError) and error.errno is not None
        ):  # gzip and bz2 say without a number what they read
            raise Stuck(f"{path}: can't be unpacked: {error.strerror or error}") from error
        raise Broken(f"{path}: is no whole {plan.format} file: {error}") from error


@contextmanager
def _workshop(folder: str, path: str) -> Iterator[str]:
    """A folder of its own for unpacking path into folder, empty. Gone at the end; leavings of a crash, at the next."""
    mark = hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()
    work = os.path.join(folder, f".tranship-unpack-{mark}")
    with contextlib.suppress(FileExistsError):
        os.mkdir(work, 0o700)
    lock = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            for entry in os.listdir(lock):
                _clear(os.path.join(work, entry))
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except BlockingIOError:
        raise Stuck(f"{path}: another process is unpacking it") from None
    finally:
        os.close(lock)


def _clear(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.remove(path)


def _put_in_place(work: str, folder: str, names: tuple[str, ...], path: str) -> tuple[str, ...]:
    """Rename the files of the workshop to where they belong. Nothing is renamed if anything is in the way."""
    for name in names:
        target = os.path.join(folder, name)
        if os.path.realpath(target) == os.path.realpath(path):
            raise Hostile(f"{path}: holds a file that would replace it")
        if os.path.isdir(target):
            raise Broken(f"{path}: {target} is a folder, and would become a file")
    for name in names:
        inner, _, last = name.rpartition("/")
        with _below(folder, inner, path) as there:
            os.replace(os.path.join(work, name), last, dst_dir_fd=there)
    return names


@contextmanager
def _below(folder: str, inner: str, path: str) -> Iterator[int]:
    """The folder inner below folder, made if it is not there, open; no link on the way is followed."""
    there = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in filter(None, inner.split("/")):
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=there)
            try:
                deeper = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=there)
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                    raise
                raise Broken(
                    f"{path}: {inner!r} leads over a link, or a file, that lies in {folder}"
                ) from None
            os.close(there)
            there = deeper
        yield there
    finally:
        os.close(there)
