"""What is there: facts, listings, folders, renaming and removing."""

from tranship_movers.checks.ground import (
    Broken,
    Ground,
    collected,
    expect,
    folders,
    names_in,
    promise,
    read,
    refusal,
    size_of,
    writing,
)
from tranship_movers.errors import (
    NameRefused,
    Permanent,
    SourceGone,
)


@promise("a name that is not there has no facts", writing)
def _absent(ground: Ground) -> None:
    with ground.line() as mover:
        for name in ("absent.dat", "no/such/folder/absent.dat"):
            expect(mover.stat(f"{ground.folder}/{name}") is None, f"stat of {name} gave something")


@promise("a listing has every name once, with its size, and tells folders from files")
def _listing_whole(ground: Ground) -> None:
    with ground.line() as mover:
        sizes = {f"l{number:02}.dat": number * 7 for number in range(25)}
        for name, size in sizes.items():
            mover.put(ground.file("listed", bytes(size)), f"{ground.folder}/{name}")
        mover.make_folders(f"{ground.folder}/sub")
        mover.put(ground.file("inner", b"inner"), f"{ground.folder}/sub/inner.dat")
        found = list(mover.list(ground.folder))
        files = [(facts.name, facts.size) for facts in found if not facts.is_folder]
        expect(sorted(files) == sorted(sizes.items()), f"listed were {sorted(files)}")
        folders = [facts.name for facts in found if facts.is_folder]
        expect(folders == ["sub"], f"the folders listed were {folders}")
        expect(names_in(mover, f"{ground.folder}/sub") == {"inner.dat"}, "the folder below is listed wrongly")


@promise("stat knows a folder", folders)
def _folder_facts(ground: Ground) -> None:
    with ground.line() as mover:
        facts = mover.stat(ground.folder)
        expect(facts is not None and facts.is_folder, f"stat of a folder gave {facts}")
        expect(not names_in(mover, ground.folder), "an empty folder lists something")


@promise("listing a folder that is not there is a permanent error", folders)
def _list_missing(ground: Ground) -> None:
    with ground.line() as mover, refusal(Permanent, "list of a missing folder"):
        list(mover.list(f"{ground.folder}/missing"))


@promise("removing takes the name away; removing what is not there is no error", writing)
def _remove(ground: Ground) -> None:
    name = f"{ground.folder}/removed.dat"
    with ground.line() as mover:
        mover.put(ground.file("removed", b"x"), name)
        mover.remove(name)
        expect(mover.stat(name) is None, "it is still there")
        mover.remove(name)
        mover.remove(f"{ground.folder}/never/was.dat")


@promise("getting what is not there says that the source is gone", writing)
def _get_absent(ground: Ground) -> None:
    with ground.line() as mover:
        try:
            mover.get(f"{ground.folder}/absent.dat", ground.local / f"{ground.word}-absent")
        except SourceGone as error:
            shown = bool(ground.secret) and ground.secret in f"{error}{error!r}"
            expect(not shown, "the error shows the secret")
            return
        raise Broken("get gave success")


@promise("putting what is not there says that the source is gone, and leaves nothing", writing)
def _put_absent(ground: Ground) -> None:
    name = f"{ground.folder}/nothing.dat"
    with ground.line() as mover:
        with refusal(SourceGone, "put of a missing source"):
            mover.put(ground.local / "no-such-file", name)
        expect(mover.stat(name) is None, "put of a missing source made the name")


@promise("what one connection changes, another sees at once")
def _nothing_stale(ground: Ground) -> None:
    name = f"{ground.folder}/changing.dat"
    with ground.line() as looker, ground.line() as changer:
        for size in (3, 5, 7):
            expect((looker.stat(name) is None) == (size == 3), "stat gave an old answer")
            changer.put(ground.file("changing", bytes(size)), name)
            expect(
                size_of(looker, name) == size, f"stat gave an old size, {size_of(looker, name)} for {size}"
            )
            listed = {facts.name: facts.size for facts in looker.list(ground.folder)}
            expect(listed == {"changing.dat": size}, f"the listing is old: {listed}")
        changer.remove(name)
        expect(looker.stat(name) is None, "stat still sees what was removed")
        expect(not names_in(looker, ground.folder), "the listing still has what was removed")


@promise("folders are made at any depth; making them again is no error")
def _folders_made(ground: Ground) -> None:
    deep = f"{ground.folder}/a/b b/c"
    with ground.line() as mover, ground.line() as other:
        mover.make_folders(deep)
        mover.make_folders(deep)
        other.make_folders(f"{ground.folder}/a")
        mover.put(ground.file("deep", b"deep"), f"{deep}/deep.dat")
        expect(names_in(other, deep) == {"deep.dat"}, "the file is not in the folder")
        mover.make_folders(deep)
        expect(names_in(other, deep) == {"deep.dat"}, "making the folder again emptied it")


@promise("putting into a folder that is not there is a permanent error and leaves nothing", folders)
def _put_in_missing_folder(ground: Ground) -> None:
    with ground.line() as mover:
        try:
            mover.put(ground.file("lost", b"lost"), f"{ground.folder}/missing/lost.dat")
        except Permanent as error:
            expect(not isinstance(error, SourceGone | NameRefused), f"it says {type(error).__name__}")
        else:
            raise Broken("it gave success")
        expect(mover.stat(f"{ground.folder}/missing/lost.dat") is None, "something is there")
        expect(not names_in(mover, ground.folder), f"it left {sorted(names_in(mover, ground.folder))}")


@promise("renaming replaces what has the new name", writing)
def _rename(ground: Ground) -> None:
    old, new = f"{ground.folder}/old name.dat", f"{ground.folder}/new#name.dat"
    with ground.line() as mover:
        mover.put(ground.file("old", b"the old one"), old)
        mover.rename(old, new)
        expect(read(ground, mover, new) == b"the old one", "the bytes differ after renaming")
        mover.put(ground.file("newer", b"newer"), old)
        mover.rename(old, new)
        expect(read(ground, mover, new) == b"newer", "the name was not replaced")
        expect(mover.stat(old) is None, "the old name is still there")


@promise("renaming what is not there says that the source is gone, and harms nothing", writing)
def _rename_absent(ground: Ground) -> None:
    kept = f"{ground.folder}/kept.dat"
    with ground.line() as mover:
        mover.put(ground.file("kept", b"kept"), kept)
        with refusal(SourceGone, "rename of a missing name"):
            mover.rename(f"{ground.folder}/absent.dat", kept)
        expect(read(ground, mover, kept) == b"kept", "the file with the new name is gone")


CHECKS = collected(globals())
