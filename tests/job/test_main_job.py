"""The main job: a server and a client, as processes, move real files and tell downstream."""

from pathlib import Path

from stage import Site, wait_for


def test_files_are_delivered_and_published_once(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.start_server()
        ear = site.ear(site.client_port, site.topic)
        site.start_client()
        files = site.drop_many(50)
        messages = ear.until(50)
        assert site.delivered() == files
        assert sorted(message.data["uid"] for message in messages) == sorted(files)
        first = messages[0].data
        assert first["uri"] == str(site.outgoing / first["uid"])
        assert first["origin"] == f"127.0.0.1:{site.request_port}"
        assert "request_address" not in first
        assert "destination" not in first
        assert site.client.stop() == 0
        assert site.server.stop() == 0


def test_killed_server_and_client_lose_nothing_and_publish_nothing_twice(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.start_server()
        ear = site.ear(site.client_port, site.topic)
        site.start_client()
        files = {}
        for part in range(8):
            files |= site.drop_many(250, start=part * 250)
            if part == 2:
                ear.until(100)
                site.server.kill()
            if part == 3:
                site.start_server()
            if part == 4:
                ear.until(300)
                site.client.kill()
            if part == 6:
                site.start_client()
        try:
            wait_for(lambda: len({m.data["uid"] for m in ear.of("file")}) == 2000, "2000 files published")
        except AssertionError:
            unheard = set(files) - {m.data["uid"] for m in ear.of("file")}
            lines = [
                line for line in site.client.output.splitlines() if any(name in line for name in unheard)
            ]
            print("unheard:", *sorted(unheard), *lines, sep="\n")
            raise
        assert site.delivered() == files
        ids = [message.data["tranship"]["id"] for message in ear.of("file")]
        repeated = len(ids) - len(set(ids))
        assert len(set(ids)) == 2000
        assert repeated == len(ids) - 2000  # only with the same id, in the window of the crash


def test_a_folder_that_goes_away_and_comes_back_is_watched_again(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.chain_options = {"scan_interval": "1 h"}
        site.start_server()
        ear = site.ear(site.publish_port)
        ear.until(1, "beat")
        site.drop("first.dat", b"1")
        ear.until(1)
        site.incoming.rename(tmp_path / "away")
        site.incoming.mkdir()
        site.drop("second.dat", b"2")
        ear.until(2)
        site.drop("third.dat", b"3")
        names = {message.data["uid"] for message in ear.until(3)}
        assert names == {"first.dat", "second.dat", "third.dat"}
