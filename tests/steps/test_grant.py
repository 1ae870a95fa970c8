"""Which requests a server grants: what it announced, as it is now, to allowed destinations; and why not the others."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tranship.core.allow import Allowed
from tranship.core.values import Version
from tranship.journal import SERVER_SCHEMA, Announced, Journal, ServerBook
from tranship.steps.request import Failure, Grant, Order, Refusal, granted
from tranship.wire.contract import Question
from tranship.wire.messages import compose

FILE = Version("/in/a.dat", 3, 10, "x:1")
GOOD: dict[str, Any] = {"uri": "/in/a.dat", "destination": "file:///out/"}


def decided(folder: Path, *data: Any) -> tuple[list[Order], list[Refusal]]:
    async def main() -> tuple[list[Order], list[Refusal]]:
        journal = Journal.open(folder / "j", SERVER_SCHEMA)
        try:
            book = ServerBook(journal)
            await book.announce([Announced("/t", 7, "c", FILE, "a.dat", b"", 0.0, 0.0)])
            allowed = Allowed(["file:///out/**", "sftp://anna@host/in/**"])
            return await Grant("c", allowed, book)(
                [Question(compose("/t", "push", d), n) for n, d in enumerate(data)]
            )
        finally:
            journal.close()

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("changed", "clean"),
    [
        ({}, "file:///out/"),
        ({"uri": "file://somewhere/in/a.dat"}, "file:///out/"),
        ({"uri": "/in/./a.dat"}, "file:///out/"),
        ({"path": "deep"}, "file:///out/deep/"),
        ({"destination": "file://any.host/out/"}, "file:///out/"),
        ({"destination": "sftp://anna:secret@host/in/"}, "sftp://anna@host/in/"),
        ({"tranship": {"seq": 7}}, "file:///out/"),
        ({"tranship": {"seq": 6, "size": 3, "mtime": 10}}, "file:///out/"),
    ],
)
def test_what_was_announced_goes_to_allowed_places(
    tmp_path: Path, changed: dict[str, Any], clean: str
) -> None:
    [order], refusals = decided(tmp_path, {**GOOD, **changed})
    assert refusals == []
    [move] = order.moves
    assert move.version == FILE
    assert move.clean == clean
    assert b"secret" not in granted(order, {}).encode()


@pytest.mark.parametrize(
    ("changed", "kind", "failure"),
    [
        ({"uri": "/in/b.dat"}, "not announced", Failure.REFUSED),
        ({"uri": "/in/x/../a.dat"}, "bad uri", Failure.REFUSED),
        ({"uri": "in/a.dat"}, "bad uri", Failure.REFUSED),
        ({"uri": "/in/a\0"}, "bad uri", Failure.REFUSED),
        ({"uri": "/in/\udcff"}, "bad uri", Failure.REFUSED),
        ({"destination": "file:///elsewhere/"}, "destination", Failure.REFUSED),
        ({"destination": "sftp://bob@host/in/"}, "destination", Failure.REFUSED),
        ({"destination": ["file:///out/"]}, "no destination", Failure.REFUSED),
        ({"destination": None}, "no destination", Failure.REFUSED),
        ({"path": "../up"}, "bad path", Failure.REFUSED),
        ({"path": "/up"}, "bad path", Failure.REFUSED),
        ({"path": 7}, "bad path", Failure.REFUSED),
        ({"path": "a\r\nDELE b"}, "bad path", Failure.REFUSED),
        ({"destination": "file:///out#/x/"}, "destination", Failure.REFUSED),
        ({"destination": "sftp://anna%40host%2Fin%2F@evil/"}, "destination", Failure.REFUSED),
        ({"backup_targets": ["h:" + "9" * 5000]}, "bad backup_targets", Failure.REFUSED),
        ({"backup_targets": ["h"] * 17}, "bad backup_targets", Failure.REFUSED),
        ({"backup_targets": "host"}, "bad backup_targets", Failure.REFUSED),
        ({"backup_targets": ["a/b"]}, "bad backup_targets", Failure.REFUSED),
        (
            {"destination": "sftp://anna@host/in/", "backup_targets": ["h:99999"]},
            "bad backup_targets",
            Failure.REFUSED,
        ),
        (
            {"destination": "sftp://anna@host/in/", "backup_targets": ["other"]},
            "destination",
            Failure.REFUSED,
        ),
        ({"tranship": {"seq": 6, "size": 2, "mtime": 10}}, "superseded", Failure.SUPERSEDED),
    ],
)
def test_everything_else_is_refused_with_its_reason(
    tmp_path: Path, changed: dict[str, Any], kind: str, failure: Failure
) -> None:
    orders, [refusal] = decided(tmp_path, {**GOOD, **changed})
    assert orders == []
    assert (refusal.kind, refusal.failure) == (kind, failure)
    assert refusal.reason


@pytest.mark.parametrize("data", ["text", 7, ["/in/a.dat"], {}, {"destination": "file:///out/"}])
def test_what_is_no_request_is_refused(tmp_path: Path, data: Any) -> None:
    orders, refusals = decided(tmp_path, data)
    assert (len(orders), len(refusals)) == (0, 1)


def test_a_wrong_one_among_good_ones_harms_nobody(tmp_path: Path) -> None:
    orders, refusals = decided(tmp_path, GOOD, {**GOOD, "uri": "/in/b.dat"}, "", GOOD)
    assert [order.question.route for order in orders] == [0, 3]
    assert [refusal.question.route for refusal in refusals] == [2, 1]


def test_a_dataset_goes_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    parts = [{"uri": "/in/a.dat"}, {"uri": "/in/b.dat"}]
    orders, [refusal] = decided(tmp_path, {"dataset": parts, "destination": "file:///out/"})
    assert (orders, refusal.kind) == ([], "not announced")
