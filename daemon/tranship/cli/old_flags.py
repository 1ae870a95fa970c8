"""Command lines of Trollmoves that ours would not take as they are.

dispatcher.py    `-p [PORT]`: the port may be missing; `-n [HOST ...]`: any number of hosts
s3downloader.py  `-c FILE`, `--config-file FILE`: the configuration, which stands nowhere else there
move_it_req.py   `--ping [SERVER]`, `--info TOPIC [SERVER]`, where ours are commands
"""

import re
from collections.abc import Iterable, Iterator, Sequence

import typer
from typer.core import TyperCommand, TyperGroup

DEFAULT_SERVER = "localhost:9092"
"""Whom move_it_req.py asks, if it is not told."""

Word = tuple[str, str | None]
"""A flag with its value, or None if it has none; or ("", what stands by itself)."""


class PublishingCommand(TyperCommand):
    """A command whose `-p` may lack its port (then any free one), and whose `-n` takes several hosts."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Write both as our own commands have them."""
        return super().parse_args(ctx, written_out(args))


class FetchCommand(TyperCommand):
    """The same, and where no file stands by itself, `-c` names it."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Write all of them as our own commands have them."""
        return super().parse_args(ctx, with_its_file(args))


class RequestGroup(TyperGroup):
    """Requests, whose kind may be a flag."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Write the kind as a command."""
        return super().parse_args(ctx, as_command(args))


def written_out(args: Sequence[str]) -> list[str]:
    """Each `-p` with a port, each host with a `-n` of its own.

    In front of the file, hosts are told from it by the flag that follows them; else the last word is the file.
    """
    return _joined(_publishing(args))


def with_its_file(args: Sequence[str]) -> list[str]:
    """The same; `--config-file`, or else `-c` where no file stands by itself, becomes the file."""
    words = list(_publishing(args, by_itself=not _naming(_words(args, _VALUED))))
    naming = _naming(words)
    if naming and not any(flag == "" for flag, _ in words):
        words[words.index(naming[0])] = "", naming[0][1]
    return _joined(words)


def as_command(args: Sequence[str]) -> list[str]:
    """`--ping` and `--info TOPIC` as the commands that they are here, with the server in its place."""
    words = list(_words(args, (*_ASKING, "--info")))
    kind = next((word for word in words if word[0] in ("--ping", "--info")), None)
    if kind is None:
        return list(args)
    servers = [value for flag, value in words if flag == "" and value] or [DEFAULT_SERVER]
    verbose = [word for word in words if word[0] in ("-v", "--verbose")]
    rest = _joined(word for word in words if word[0] and word not in (kind, *verbose))
    if kind[0] == "--ping":
        return ["ping", *servers, *rest]
    return ["info", *servers, kind[1] or "/", *(("--count", "2256") if verbose else ()), *rest]


def _publishing(args: Sequence[str], *, by_itself: bool = True) -> Iterator[Word]:
    """The words of args, ports and hosts written out; by_itself: there has to be a file among the words."""
    words = list(_words(args, _VALUED))
    seen = False
    while words:
        flag, value = words.pop(0)
        if flag not in _HOSTS:
            seen = seen or flag == ""
            yield flag, value
            continue
        hosts = [] if value is None else [value]
        while words and words[0][0] == "":
            hosts.append(words.pop(0)[1] or "")
        is_file = by_itself and not seen and not any(flag == "" for flag, _ in words)
        file = hosts.pop() if is_file and len(hosts) > 1 else None
        yield from ((flag, host) for host in hosts)
        if file is not None:
            seen = True
            yield "", file


def _words(args: Sequence[str], valued: Sequence[str]) -> Iterator[Word]:
    """What args say, each flag of valued with its value; `-p` without a port has port 0."""
    left = list(args)
    while left:
        word = left.pop(0)
        flag, equals, value = word.partition("=")
        if word == "--":
            yield from (("", each) for each in left)
            return
        if not word.startswith("-") or word == "-":
            yield "", word
        elif flag.startswith("--") and equals:
            yield flag, value
        elif not word.startswith("--") and word[:2] in valued and len(word) > 2:
            yield word[:2], word[2:]
        elif word in _PORTS and word in valued and not (left and re.fullmatch(r"-?\d+", left[0])):
            yield word, "0"
        elif word in _HOSTS and word in valued and not (left and not left[0].startswith("-")):
            continue
        elif word in valued and left:
            yield word, left.pop(0)
        elif not word.startswith("--") and len(word) > 2:  # `-vl FILE`
            left[:0] = [word[:2], f"-{word[2:]}"]
        else:
            yield word, None


def _naming(words: Iterable[Word]) -> list[Word]:
    """The flags that may name the file, the likeliest first."""
    able = [word for word in words if word[0] in _NAMING and word[1] is not None]
    return sorted(able, key=lambda word: _NAMING.index(word[0]))


def _joined(words: Iterable[Word]) -> list[str]:
    return [part for flag, value in words for part in (flag or None, value) if part is not None]


_PORTS = ("-p", "--publish-port")
_HOSTS = ("-n", "--publish-nameserver", "--nameservers")
_NAMING = ("--config-file", "-c")
_ASKING = ("--extra", "--spam", "--timeout")
_VALUED = (
    *_PORTS,
    *_HOSTS,
    *_NAMING,
    "-r",
    "--subscribe-nameserver",
    "--log-config",
    "-l",
    "--log",
    "--metrics",
)
