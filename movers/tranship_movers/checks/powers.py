"""What the powers say, and connections."""

import os
import random
import threading

from tranship_movers.checks.ground import (
    Ground,
    collected,
    expect,
    promise,
    writing,
)
from tranship_movers.checksum import digest
from tranship_movers.transfer import (
    upload,
)


@promise("the modification time is kept, both ways", lambda powers: powers.mtime)
def _mtime(ground: Ground) -> None:
    source, name = ground.file("dated", b"dated"), f"{ground.folder}/dated.dat"
    os.utime(source, ns=(1_234_567_890_000_000_000,) * 2)
    with ground.line() as mover:
        upload(mover, source, name)
        facts = mover.stat(name)
        seconds = facts.mtime_ns // 1_000_000_000 if facts and facts.mtime_ns is not None else None
        expect(seconds == 1_234_567_890, f"stat says {seconds}")
        target = ground.local / f"{ground.word}-dated-back"
        mover.get(name, target)
        expect(int(target.stat().st_mtime) == 1_234_567_890, "get did not keep it")


@promise("the permission bits are kept, as far as the umask lets", lambda powers: powers.mode)
def _mode(ground: Ground) -> None:
    with ground.line() as mover:
        for mode in (0o600, 0o640, 0o644):
            source, name = ground.file(f"mode{mode:o}", b"mode"), f"{ground.folder}/mode{mode:o}.dat"
            source.chmod(mode)
            upload(mover, source, name)
            facts = mover.stat(name)
            if facts is None or facts.mode is None:
                return  # the place does not tell
            expect(facts.mode & ~mode == 0, f"{mode:o} became {facts.mode:o}")
            expect(facts.mode & 0o700 == mode & 0o700, f"{mode:o} became {facts.mode:o}")


@promise("checksums are those of the bytes", lambda powers: bool(powers.checksums))
def _checksums(ground: Ground) -> None:
    source, name = ground.file("summed", random.randbytes(70_000)), f"{ground.folder}/summed.dat"
    with ground.line() as mover:
        mover.put(source, name)
        for algorithm in sorted(mover.powers.checksums):
            theirs = mover.checksum(name, algorithm)
            expect((theirs or "").lower() == digest(source, algorithm), f"{algorithm} gave {theirs}")


@promise("a checksum that the place does not do is None", writing)
def _no_such_checksum(ground: Ground) -> None:
    name = f"{ground.folder}/unsummed.dat"
    with ground.line() as mover:
        mover.put(ground.file("unsummed", b"x"), name)
        expect(mover.checksum(name, "crc-of-nobody") is None, "an unknown algorithm gave something")


@promise("connections are independent: several at once, each to its own folder", writing)
def _several(ground: Ground) -> None:
    failed: list[Exception] = []
    workers = [threading.Thread(target=_work, args=(ground, n, failed), daemon=True) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    expect(not any(worker.is_alive() for worker in workers), "a connection hangs")
    expect(not failed, f"{len(failed)} of 4 failed: {failed[:1]}")


@promise("a connection is alive until it is closed; closing twice is no error", lambda _: True)
def _alive(ground: Ground) -> None:
    with ground.line() as other:
        mover = ground.connect()
        expect(mover.alive(), "a new connection is not alive")
        mover.close()
        mover.close()
        expect(not mover.alive(), "a closed connection is alive")
        expect(other.alive(), "closing one connection closed another")


def _work(ground: Ground, number: int, failed: list[Exception]) -> None:
    try:
        with ground.line() as mover:
            for file in range(6):
                content = f"{number} {file} ".encode() * 3000
                name = f"{ground.folder}/folder {number}/same-name-{file}.dat"
                upload(mover, ground.file(f"w{number}-{file}", content), name)
                target = ground.local / f"{ground.word}-w{number}-back"
                mover.get(name, target)
                expect(target.read_bytes() == content, f"{name} holds another's bytes")
    except Exception as error:  # noqa: BLE001 - told by the check, in its own thread
        failed.append(error)


CHECKS = collected(globals())
