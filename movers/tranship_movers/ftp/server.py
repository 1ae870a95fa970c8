"""An FTP server as we know it over one line: what it can do, and what it says of names."""

import math
import os
import posixpath
import re
import time
from contextlib import suppress
from dataclasses import replace

from tranship_movers.contract import Facts, Powers
from tranship_movers.errors import Permanent
from tranship_movers.ftp.line import Line
from tranship_movers.ftp.meanings import Refused
from tranship_movers.ftp.told import NO_FILE, facts_of, facts_of_ls, features_of, time_of, told_in

_DIGITS = {"sha256": 64, "md5": 32}
_HASH_NAMES = {"sha256": "SHA-256", "md5": "MD5"}


class Server:
    """The server at the other end of line, once we are logged in."""

    def __init__(self, line: Line) -> None:
        """Learn what it can do."""
        self.line = line
        self._hash = ""
        self._site: frozenset[str] = frozenset()
        self._features: dict[str, str] = {}
        self._learn()

    def powers(self) -> Powers:
        """What the server says it can do."""
        return Powers(
            # rclone's readers miss the name for a moment.
            replace="Rclone" not in (self.line.welcome or ""),
            verified=self._knows_size and not self._digests(),
            append=self._goes_on,
            resumes=0 if self._goes_on else None,
            mtime=self._mtime_command() != "",
            mode="CHMOD" in self._site,
            checksums=self._digests(),
        )

    def rename(self, fromname: str, toname: str) -> None:
        """Rename in two steps; a refusal says which."""
        first, second = f"RNFR {fromname}", f"RNTO {toname}"
        if not self.line.bears_haste:
            self.line.sendcmd(first)
            self.line.voidcmd(second)
            return
        for heard in self.line.at_once(first, second):
            if isinstance(heard, Refused):
                raise heard

    def facts(self, path: str, name: str = "") -> Facts | None:
        """What the server says of path, None if nothing is there."""
        name = name or path
        if "MLST" in self._features:
            try:
                reply = self.line.sendcmd(f"MLST {path}").split("\n")
                if found := facts_of(reply[1].strip() if len(reply) > 1 else "", name):
                    return found
            except Refused as refused:
                if refused.asks_for_later or refused.forbids:
                    raise
                if not refused.is_unknown:
                    return None
                del self._features["MLST"]
        try:
            return self._sized(path, name)
        except Refused as refused:
            if not refused.is_unknown or path == "/":
                raise
        folder, last = posixpath.split(path)
        return next((replace(facts, name=name) for facts in self.listing(folder) if facts.name == last), None)

    def has_file(self, path: str) -> bool:
        """Whether path is there and no folder."""
        facts = self.facts(path)
        return facts is not None and not facts.is_folder

    def is_folder(self, path: str) -> bool:
        """Whether path is a folder."""
        if path == "/":
            return True
        if "MLST" in self._features:
            facts = self.facts(path)
            return facts is not None and facts.is_folder
        # The one use of CWD is as a question: no other command depends on where we are.
        try:
            self.line.voidcmd(f"CWD {path}")
        except Refused as refused:
            if refused.asks_for_later:
                raise
            return False
        self.line.voidcmd("CWD /")
        return True

    def listing(self, path: str) -> list[Facts]:
        """The names in path."""
        if "MLST" not in self._features:
            return self._old_listing(path)
        try:
            found = [facts for line in self.line.lines(f"MLSD {path}") if (facts := facts_of(line))]
        except Refused as refused:
            if not refused.is_unknown:
                raise
            del self._features["MLST"]
            return self._old_listing(path)
        # Some servers list a file as a folder that holds itself.
        if len(found) == 1 and found[0].name == posixpath.basename(path) and not self.is_folder(path):
            raise Permanent("is no folder")
        return found

    def checksum(self, path: str, algorithm: str) -> str | None:
        """The hex digest that the server computes of path."""
        if algorithm not in self._digests():
            return None
        try:
            if _HASH_NAMES[algorithm] in self._hashes():
                if self._hash != algorithm:
                    self.line.voidcmd(f"OPTS HASH {_HASH_NAMES[algorithm]}")
                    self._hash = algorithm
                reply = self.line.sendcmd(f"HASH {path}")
            else:
                reply = self.line.sendcmd(f"X{algorithm.upper()} {path}")
        except Refused as refused:
            if refused.asks_for_later:
                raise
            return None
        found = re.search(rf"\b[0-9a-f]{{{_DIGITS[algorithm]}}}\b", reply, re.IGNORECASE)
        return found[0].lower() if found else None

    def seal(self, path: str, seen: os.stat_result, powers: Powers) -> tuple[Powers, int | None]:
        """Give path the time and mode of seen, and ask for its size, as far as powers say.

        Gives powers without what the server refused, and the size in bytes (None: it was not told).
        """
        commands = {}
        if powers.mtime:
            commands["mtime"] = self._dating(path, seen.st_mtime)
        if powers.mode:
            commands["mode"] = f"SITE CHMOD {seen.st_mode & 0o777:03o} {path}"
        if powers.verified:
            commands["verified"] = f"SIZE {path}"
        heard = dict(zip(commands, self.line.at_once(*commands.values()), strict=True))
        done = {power for power, answer in heard.items() if not isinstance(answer, Refused)}
        size = heard.get("verified", "")
        told = None if isinstance(size, Refused) or not size else int(told_in(r"\d+", size[4:]))
        if done < set(heard):
            powers = replace(powers, mtime="mtime" in done, mode="mode" in done, verified="verified" in done)
        return powers, told

    def _dating(self, path: str, seconds: float) -> str:
        """The command that gives path a modification time."""
        stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime(math.floor(seconds)))
        command = self._mtime_command()
        after = f"{path} {stamp} {stamp} {stamp} UTC" if command == "SITE UTIME" else f"{stamp} {path}"
        return f"{command} {after}"

    def _learn(self) -> None:
        self._features = features_of(self.line.answer("FEAT"))
        if "UTF8" in self._features and self.line.encoding.lower().replace("-", "") == "utf8":
            self.line.answer("OPTS UTF8 ON")
        if unstarred := [fact for fact in ("type", "size", "modify") if f"{fact};" in self._mlst()]:
            starred = [fact for fact in ("type", "size", "modify") if f"{fact}*" in self._mlst()]
            self.line.answer(f"OPTS MLST {';'.join(starred + unstarred)};")
        self._site = frozenset(re.findall(r"\b(CHMOD|UTIME)\b(?!\*)", self.line.answer("SITE HELP")))

    def _mlst(self) -> str:
        return self._features.get("MLST", "").lower()

    def _mtime_command(self) -> str:
        if "MFMT" in self._features:
            return "MFMT"
        if "UTIME" in self._site or "UTIME" in self._features.get("SITE", ""):
            return "SITE UTIME"
        # It has always done so, but never says it.
        return "MDTM" if "vsFTPd" in (self.line.welcome or "") and "MDTM" in self._features else ""

    def _sized(self, path: str, name: str) -> Facts | None:
        """By SIZE and MDTM. Raises Refused if the server does not know SIZE."""
        size, date = self.line.at_once(f"SIZE {path}", f"MDTM {path}")
        if isinstance(size, Refused):
            if size.is_unknown:
                raise size
            return Facts(name, 0, is_folder=True) if self.is_folder(path) else None
        modified = None if isinstance(date, Refused) else time_of(date[4:])
        return Facts(name, int(told_in(r"\d+", size[4:])), modified)

    @property
    def _goes_on(self) -> bool:
        return self._features.get("REST", "").upper() == "STREAM"

    @property
    def _knows_size(self) -> bool:
        return "SIZE" in self._features

    def _hashes(self) -> frozenset[str]:
        return frozenset(re.findall(r"[A-Z0-9-]+", self._features.get("HASH", "").upper()))

    def _digests(self) -> frozenset[str]:
        by_hash = {ours for ours, theirs in _HASH_NAMES.items() if theirs in self._hashes()}
        by_name = {verb[1:].lower() for verb in self._features if verb.startswith("X")}
        return frozenset(_DIGITS) & (by_hash | by_name)

    def _old_listing(self, path: str) -> list[Facts]:
        """By LIST, which has no rules; from within, since it takes blanks and wildcards for more."""
        try:
            self.line.voidcmd(f"CWD {path}")
        except Refused as refused:
            if refused.asks_for_later:
                raise
            raise Permanent(f"there is no such folder ({refused.code} {refused.text})") from refused
        try:
            found = [facts_of_ls(line) for line in self._old_lines() if line[:1] not in NO_FILE]
            if None in found:
                names = [posixpath.basename(line) for line in self.line.lines("NLST")]
                found = [self._sized(posixpath.join(path, name), name) for name in names]
        finally:
            if self.line.sock is not None:
                self.line.answer("CWD /")
        named = [facts for facts in found if facts and facts.name not in (".", "..")]
        return [told for facts in named if (told := self._completed(path, facts))]

    def _completed(self, folder: str, facts: Facts) -> Facts | None:
        """Facts of a link as those of what it leads to, None if nobody can tell."""
        if facts.size >= 0:
            return facts
        with suppress(Refused):
            return self._sized(posixpath.join(folder, facts.name), facts.name)
        return None

    def _old_lines(self) -> list[str]:
        # A server that understands -a shows the folder itself; others take it for a name, and show nothing.
        with suppress(Refused):
            lines = self.line.lines("LIST -a")
            if any(line.endswith(" .") for line in lines):
                return lines
        return self.line.lines("LIST")
