"""Every promise is broken once, by a mover that lies; the check must see it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest

from tranship_movers.checks import CHECKS, Broken, Ground, run
from tranship_movers.contract import Facts, Progress, unheard
from tranship_movers.errors import MoverError, NameRefused, Permanent, SourceChanged, SourceGone
from tranship_movers.memory import Kept, MemoryMover, host
from tranship_movers.place import Place
from tranship_movers.temporary import is_part


class LosesTheEnd(MemoryMover):
    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        super().put(source, name, offset=offset, progress=progress)
        kept = self._host.files[name]
        if len(kept.content) > 65_536:
            self._host.files[name] = replace(kept, content=kept.content[:-1])


class DecodesNames(MemoryMover):
    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        super().put(source, unquote(name), offset=offset, progress=progress)

    def rename(self, old: str, new: str) -> None:
        super().rename(unquote(old), unquote(new))

    def stat(self, name: str) -> Facts | None:
        return super().stat(unquote(name))


class RefusesDots(MemoryMover):
    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        if "/." in name:
            raise NameRefused("no dots")
        super().put(source, name, offset=offset, progress=progress)


class SwallowsNul(MemoryMover):
    def _refuse(self, name: str) -> None:
        pass


class ObeysLines(MemoryMover):
    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        super().put(source, name, offset=offset, progress=progress)
        if "DELE" in name:
            self._host.files = {key: kept for key, kept in self._host.files.items() if key[-6:] != "victim"}
            self._host.files[name] = Kept(source.read_bytes(), 0)


class KeepsTheTail(MemoryMover):
    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        before = self._host.files.get(name)
        super().put(source, name, offset=offset, progress=progress)
        if before is not None:
            kept = self._host.files[name]
            self._host.files[name] = replace(kept, content=kept.content + before.content[len(kept.content) :])


class TellsTheSum(MemoryMover):
    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        told = [0]

        def summed(size: int) -> None:
            told[0] += size
            progress(told[0])

        super().put(source, name, offset=offset, progress=summed)


class FlipsFarBits(MemoryMover):
    powers = replace(MemoryMover.powers, checksums=frozenset())

    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        super().put(source, name, offset=offset, progress=progress)
        kept = self._host.files[name]
        if len(kept.content) > 400_000:
            flipped = bytes([kept.content[400_000] ^ 1])
            content = kept.content[:400_000] + flipped + kept.content[400_001:]
            self._host.files[name] = replace(kept, content=content)


class SeesGhosts(MemoryMover):
    def stat(self, name: str) -> Facts | None:
        return super().stat(name) or Facts(name, 0)


class ListsHalf(MemoryMover):
    def list(self, folder: str) -> Iterator[Facts]:
        return iter(list(super().list(folder))[1:])


class KnowsNoFolders(MemoryMover):
    def stat(self, name: str) -> Facts | None:
        facts = super().stat(name)
        return None if facts is not None and facts.is_folder else facts


class ListsNothing(MemoryMover):
    def list(self, folder: str) -> Iterator[Facts]:
        try:
            return super().list(folder)
        except Permanent:
            return iter(())


class MindsRemoving(MemoryMover):
    def remove(self, name: str) -> None:
        self._file(name)
        super().remove(name)


class SavesErrorPages(MemoryMover):
    def get(self, name: str, target: Path, *, offset: int = 0, progress: Progress = unheard) -> None:
        try:
            super().get(name, target, offset=offset, progress=progress)
        except SourceGone:
            target.write_bytes(b"<html>404")


class TalksTooMuch(MemoryMover):
    def get(self, name: str, target: Path, *, offset: int = 0, progress: Progress = unheard) -> None:
        try:
            super().get(name, target, offset=offset, progress=progress)
        except SourceGone:
            raise SourceGone("login as joe:hunter2 saw no such name") from None


class PutsNothing(MemoryMover):
    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        try:
            super().put(source, name, offset=offset, progress=progress)
        except SourceGone:
            self._host.files[name] = Kept(b"", 0)
            raise


class Remembers(MemoryMover):
    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._seen: dict[str, Facts | None] = {}

    def stat(self, name: str) -> Facts | None:
        if name not in self._seen:
            self._seen[name] = super().stat(name)
        return self._seen[name]


class MakesFoldersOnce(MemoryMover):
    def make_folders(self, folder: str) -> None:
        if folder in self._host.folders:
            raise Permanent("exists")
        super().make_folders(folder)


class BlamesTheSource(MemoryMover):
    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        if self._folder_of(name) not in self._host.folders:
            raise SourceGone("No such file or directory")
        super().put(source, name, offset=offset, progress=progress)


class MakesFoldersUnasked(MemoryMover):
    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        self.make_folders(self._folder_of(name))
        super().put(source, name, offset=offset, progress=progress)


class NeverReplaces(MemoryMover):
    def rename(self, old: str, new: str) -> None:
        if new in self._host.files:
            raise Permanent("exists")
        super().rename(old, new)


class RemovesFirst(MemoryMover):
    def rename(self, old: str, new: str) -> None:
        self._host.files.pop(new, None)
        super().rename(old, new)


class Litters(MemoryMover):
    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        super().put(source, name, offset=offset, progress=progress)
        self._host.files[name + ".lock"] = Kept(b"", 0)


class LittersHere(MemoryMover):
    def get(self, name: str, target: Path, *, offset: int = 0, progress: Progress = unheard) -> None:
        super().get(name, target, offset=offset, progress=progress)
        target.with_suffix(".meta").write_bytes(b"")


class RenamesInTwoSteps(MemoryMover):
    def rename(self, old: str, new: str) -> None:
        moved = self._host.files.pop(new, None)
        _await_get(self, new) if moved else None
        super().rename(old, new)


class MakesRoomFirst(MemoryMover):
    def rename(self, old: str, new: str) -> None:
        if self.powers.replace and new in self._host.files and new.endswith("steady.dat"):
            self.remove(new)
            before = self._host.calls.count(f"stat {new}")
            _await(lambda: self._host.calls.count(f"stat {new}") >= before + 2, 5)
        super().rename(old, new)


class ClaimsWholePuts(MemoryMover):
    powers = replace(MemoryMover.powers, whole_put=True)

    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        replaced = name.endswith("live.dat") and name in self._host.files

        def awaited(size: int) -> None:
            progress(size)
            if replaced:
                _await_get(self, name)

        super().put(source, name, offset=offset, progress=awaited)


class ClaimsWholeFirstPuts(MemoryMover):
    powers = replace(MemoryMover.powers, whole_put=True)

    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        if not name.endswith("live.dat") or name in self._host.files:
            super().put(source, part := f"{name}.part", offset=offset, progress=progress)
            return super().rename(part, name)

        def awaited(size: int) -> None:
            progress(size)
            _await_get(self, name)

        return super().put(source, name, offset=offset, progress=awaited)


class ShowsWhatIsBrokenOff(MemoryMover):
    powers = replace(MemoryMover.powers, whole_put=True)

    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        try:
            super().put(source, part := f"{name}.part", offset=offset, progress=progress)
        except BaseException:
            self._host.files[name] = self._host.files[part]
            _await_get(self, name)
            raise
        super().rename(part, name)


class KeepsParts(MemoryMover):
    def remove(self, name: str) -> None:
        if not is_part(name.rpartition("/")[2]):
            super().remove(name)


class RestartsAppending(MemoryMover):
    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        super().put(source, name, offset=offset, progress=progress)
        kept = self._host.files[name]
        self._host.files[name] = replace(kept, content=kept.content[offset:])


class DropsBegunPuts(MemoryMover):
    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        try:
            super().put(source, name, offset=offset, progress=progress)
        except MoverError:
            self._host.files.pop(name, None)
            raise


class SendsEverythingAfterwards(MemoryMover):
    def get(self, name: str, target: Path, *, offset: int = 0, progress: Progress = unheard) -> None:
        begun = target.read_bytes()[:offset] if offset else b""
        super().get(name, target, progress=progress)
        target.write_bytes(begun + target.read_bytes())


class GoesOnWithAnything(MemoryMover):
    def get(self, name: str, target: Path, *, offset: int = 0, progress: Progress = unheard) -> None:
        with suppress(SourceChanged):
            super().get(name, target, offset=offset, progress=progress)


class DropsBegunGets(MemoryMover):
    def get(self, name: str, target: Path, *, offset: int = 0, progress: Progress = unheard) -> None:
        try:
            super().get(name, target, offset=offset, progress=progress)
        except MoverError:
            target.unlink()
            raise


class TellsOfOneVersion(MemoryMover):
    powers = replace(MemoryMover.powers, checksums=frozenset())

    def stat(self, name: str) -> Facts | None:
        facts = super().stat(name)
        return facts and replace(facts, mtime_ns=1, tag="one")


class ForgetsTime(MemoryMover):
    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        super().put(source, name, offset=offset, progress=progress)
        self._host.files[name] = replace(self._host.files[name], mtime_ns=time.time_ns())


class OpensToAll(MemoryMover):
    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        super().put(source, name, offset=offset, progress=progress)
        self._host.files[name] = replace(self._host.files[name], mode=0o777)


class SumsWrongly(MemoryMover):
    def checksum(self, name: str, algorithm: str) -> str | None:
        right = super().checksum(name, algorithm)
        return right and right[::-1]


class SumsAnything(MemoryMover):
    def checksum(self, name: str, algorithm: str) -> str | None:
        return super().checksum(name, algorithm) or "0"


class SharesItsFolder(MemoryMover):
    def put(self, source: Path, name: str, *, offset: int = 0, progress: Progress = unheard) -> None:
        self._host.calls.append(f"cwd {self._folder_of(name)}")
        _await(lambda: len({call for call in self._host.calls if call[:4] == "cwd "}) > 3, 0.3)
        folder = next(call for call in reversed(self._host.calls) if call[:4] == "cwd ")[4:]
        super().put(source, f"{folder}/{name.rpartition('/')[2]}", offset=offset, progress=progress)


class PretendsToLive(MemoryMover):
    def alive(self) -> bool:
        return True


BREAKS: tuple[tuple[str, type[MemoryMover]], ...] = (
    ("round-trip", LosesTheEnd),
    ("odd-names", DecodesNames),
    ("longest-name", RefusesDots),
    ("refused-names", SwallowsNul),
    ("line-break", ObeysLines),
    ("shorter", KeepsTheTail),
    ("progress", TellsTheSum),
    ("large", FlipsFarBits),
    ("absent", SeesGhosts),
    ("listing-whole", ListsHalf),
    ("folder-facts", KnowsNoFolders),
    ("list-missing", ListsNothing),
    ("remove", MindsRemoving),
    ("get-absent", SavesErrorPages),
    ("get-absent", TalksTooMuch),
    ("put-absent", PutsNothing),
    ("nothing-stale", Remembers),
    ("folders-made", MakesFoldersOnce),
    ("put-in-missing-folder", BlamesTheSource),
    ("put-in-missing-folder", MakesFoldersUnasked),
    ("rename", NeverReplaces),
    ("rename-absent", RemovesFirst),
    ("upload", Litters),
    ("download", LittersHere),
    ("overwrite", RenamesInTwoSteps),
    ("overwrite", ClaimsWholePuts),
    ("overwrite", ClaimsWholeFirstPuts),
    ("overwrite", ShowsWhatIsBrokenOff),
    ("no-gap", MakesRoomFirst),
    ("broken-off", KeepsParts),
    ("append", RestartsAppending),
    ("resume", DropsBegunPuts),
    ("get-on", SendsEverythingAfterwards),
    ("get-on-too-far", GoesOnWithAnything),
    ("download-resumed", DropsBegunGets),
    ("download-mixed", TellsOfOneVersion),
    ("mtime", ForgetsTime),
    ("mode", OpensToAll),
    ("checksums", SumsWrongly),
    ("no-such-checksum", SumsAnything),
    ("several", SharesItsFolder),
    ("alive", PretendsToLive),
)


@pytest.mark.parametrize(("word", "liar"), BREAKS, ids=[liar.__name__ for _, liar in BREAKS])
def test_a_broken_promise_is_seen(word: str, liar: type[MemoryMover], tmp_path: Path) -> None:
    check = next(check for check in CHECKS if check.word == word)
    with pytest.raises((Broken, MoverError)):
        check.run(_ground(liar, tmp_path))


def test_every_promise_is_broken_by_some_liar() -> None:
    assert {word for word, _ in BREAKS} == {check.word for check in CHECKS}


def test_outcomes_say_what_was_seen(tmp_path: Path) -> None:
    outcomes = {outcome.title: outcome for outcome in run(_ground(PretendsToLive, tmp_path))}
    broken = [outcome for outcome in outcomes.values() if outcome.verdict == "broken"]
    assert [outcome.told for outcome in broken] == ["a closed connection is alive"]
    assert len(outcomes) == len(CHECKS)


def test_what_is_not_offered_is_said(tmp_path: Path) -> None:
    class Plain(MemoryMover):
        powers = replace(MemoryMover.powers, append=False, resumes=None, mtime=False)

    outcomes = list(run(_ground(Plain, tmp_path)))
    assert sum(outcome.verdict == "not offered" for outcome in outcomes) == 7
    assert not [outcome for outcome in outcomes if outcome.verdict == "broken"]


def test_a_gap_that_a_place_does_not_hide_is_not_offered_rather_than_held(tmp_path: Path) -> None:
    class Honest(MakesRoomFirst):
        powers = replace(MemoryMover.powers, replace=False)

    verdicts = {outcome.title: outcome.verdict for outcome in run(_ground(Honest, tmp_path))}
    assert verdicts["a name that is replaced is absent for no moment"] == "not offered"


def test_a_foreign_error_is_a_broken_promise(tmp_path: Path) -> None:
    class Foreign(MemoryMover):
        def get(self, name: str, target: Path, *, offset: int = 0, progress: Progress = unheard) -> None:
            raise KeyError(name)

    outcomes = list(run(_ground(Foreign, tmp_path)))
    assert any("KeyError" in outcome.told for outcome in outcomes)


def test_checks_leave_no_files(tmp_path: Path) -> None:
    list(run(_ground(MemoryMover, tmp_path)))
    assert not host(tmp_path.name).files
    assert host(tmp_path.name).connections == 0


def _ground(liar: type[MemoryMover], tmp_path: Path) -> Ground:
    place = Place.parse(f"memory://{tmp_path.name}/")
    return Ground(lambda: liar(place), "/scratch", tmp_path, big=1 << 20, secret="hunter2")


def _await_get(mover: MemoryMover, name: str) -> None:
    """Until a reader has begun and ended a get of name."""
    before = mover._host.calls.count(f"get {name}")
    _await(lambda: mover._host.calls.count(f"get {name}") >= before + 2, 5)


def _await(holds: Callable[[], bool], seconds: float) -> None:
    turn, deadline = threading.Event(), time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        turn.wait(0.001)
