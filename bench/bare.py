"""The bare loop: one process that watches, copies, renames and publishes, without protocol, journal or promise.

What any design on the same libraries can reach at most in one process. `python -m bench.bare IN OUT PORT`
"""

import json
import os
import queue
import shutil
import sys

import zmq
from watchdog.events import FileClosedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer


class _Closed(FileSystemEventHandler):
    def __init__(self) -> None:
        self.paths: queue.SimpleQueue[str] = queue.SimpleQueue()

    def dispatch(self, event: FileSystemEvent) -> None:
        self.paths.put(os.fsdecode(event.src_path))


def main(source: str, target: str, port: int) -> None:
    """Run until killed."""
    publisher = zmq.Context().socket(zmq.PUB)
    publisher.sndhwm = 0
    publisher.bind(f"tcp://127.0.0.1:{port}")
    closed = _Closed()
    observer = Observer()
    observer.schedule(closed, source, event_filter=[FileClosedEvent])
    observer.start()
    print("ready", flush=True)
    while True:
        path = closed.paths.get()
        name = os.path.basename(path)
        part = os.path.join(target, f".{name}.part")
        shutil.copyfile(path, part)
        os.rename(part, os.path.join(target, name))
        data = json.dumps({"uri": os.path.join(target, name), "uid": name})
        publisher.send_string(
            f"pytroll://bench file bare@loop 2024-01-01T00:00:00 v1.01 application/json {data}"
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
