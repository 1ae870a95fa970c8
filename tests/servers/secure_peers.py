"""Parts of posttroll and Trollmoves, each to be run as a process with the settings of its environment.

publish PORT      publishes /topic/0, /topic/1, … without end
listen ADDRESS    prints the subject of each message that it hears
ask PORT          prints what a server answers to a ping, again and again
answer PORT       answers as a server of Trollmoves does
ns                the name server
known NAME PATH   publishes as NAME, made known by multicast, that there is a file
find NAME         prints the addresses that the name server knows, as soon as there is one
"""

import sys
import time
from itertools import count

from posttroll.message import Message


def publish(port: str) -> None:
    from posttroll.publisher import Publisher

    publisher = Publisher(f"tcp://127.0.0.1:{port}", "theirs").start()
    for number in count():
        publisher.send(Message(f"/topic/{number}", "info", {"n": number}).encode())
        time.sleep(0.05)


def listen(address: str) -> None:
    from posttroll.subscriber import Subscriber

    print("listening", flush=True)
    for message in Subscriber([address], "").recv():
        print("heard", message.subject, message.data, flush=True)


def ask(port: str) -> None:
    from trollmoves.client import PushRequester

    requester = PushRequester("127.0.0.1", port)
    while True:
        reply = requester.send_and_recv(Message("/topic", "ping"), 2)
        print("reply", reply and (reply.type, reply.data), flush=True)
        time.sleep(0.1)


def answer(port: str) -> None:
    from trollmoves.server import RequestManager

    RequestManager(int(port), {"origin": "/data/{uid}", "station": "there"}).start()
    print("answering", flush=True)


def ns() -> None:
    from posttroll.ns import NameServer

    NameServer(multicast_enabled=True, restrict_to_localhost=False).run()


def known(name: str, path: str) -> None:
    from posttroll.publisher import Publish

    with Publish(name, 0) as publisher:
        while True:
            publisher.send(Message("/topic", "file", {"uri": path, "uid": path.rpartition("/")[2]}).encode())
            time.sleep(0.05)


def find(name: str) -> None:
    from posttroll.ns import get_pub_address

    while not (found := get_pub_address(name, 5)):
        time.sleep(0.1)
    print("found", [each["URI"] for each in found], flush=True)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
