"""What a subscription brings is sorted by what it is for."""

import pytest

from tranship.steps.hear import sort
from tranship.wire.contract import Heard
from tranship.wire.messages import Message, compose

FILE = {"uri": "/in/a.dat", "uid": "a.dat", "request_address": "host:9094"}


@pytest.mark.parametrize(
    ("message", "where"),
    [
        (compose("/t", "file", FILE), "announcements"),
        (compose("/t", "dataset", {"dataset": [FILE], "request_address": "host:1"}), "announcements"),
        (compose("/t", "push", FILE), "said"),
        (compose("/t", "ack", FILE), "said"),
        (compose("/t", "file", {"uri": "/out/a.dat", "uid": "a.dat"}), "said"),
        (compose("/heartbeat/s", "beat", {"min_interval": 30}), "beats"),
        (compose("/t", "file", {**FILE, "request_address": "no address"}), "odd"),
        (compose("/t", "file", {**FILE, "uid": "../a.dat"}), "odd"),
        (compose("/t", "file", {"request_address": "host:1"}), "odd"),
        (compose("/t", "info", FILE), ""),
    ],
)
def test_each_message_goes_where_it_belongs(message: Message, where: str) -> None:
    out = sort([Heard(message, "tcp://host:9010")])
    names = ("announcements", "beats", "said", "odd")
    assert {name: len(getattr(out, name)) for name in names} == {name: int(name == where) for name in names}
