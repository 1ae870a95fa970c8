"""What can't be delivered is listed, tried again or dropped, beside a running process; a failing place comes back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from servers import ftp
from servers.moody import moody
from stage import Site, wait_for
from tranship.cli import app


def said(*words: str, answer: str = "", code: int = 0) -> str:
    """What `tranship …` says, and ends with code."""
    result = CliRunner().invoke(app, words, input=answer, env={"COLUMNS": "250"}, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def listed(client: str) -> Any:
    return json.loads(said("failed", client, "--json"))


def lists(client: str, **states: int) -> Callable[[], bool]:
    """Whether so many jobs are listed, by state."""

    def happened() -> bool:
        found = [job["state"] for job in listed(client)["jobs"]]
        return {state: found.count(state) for state in set(found)} == {
            state.replace("_", " "): count for state, count in states.items()
        }

    return happened


def test_what_fails_is_listed_tried_again_and_dropped(tmp_path: Path) -> None:
    with moody() as (server, mood), Site(tmp_path) as site:
        site.pattern = "{folder}_{name}.dat"
        place = f"ftp://127.0.0.1:{server.port}/"
        site.chain_options = {"allow": [f"{place}full/**"]}
        site.client_options = {
            "destination": f"{place}{{folder}}/",
            "login": f"{server.user}:{ftp.PASSWORD}",
            "create_target_directory": False,
            "retry": {"first": "200 ms", "longest": "1 h"},
        }
        mood.refuses_login = True
        site.start_server()
        ear = site.ear(site.client_port, site.topic)
        client = site.start_client()
        file = str(tmp_path / "client.yaml")
        assert said("failed", file) == "nothing has failed\n"
        for name in ("full_1.dat", "full_2.dat", "other_1.dat", "other_2.dat"):
            site.drop(name, name.encode())
        client.until(f"place {place} via 127.0.0.1:{site.request_port} paused: ")
        wait_for(lists(file, paused=2, given_up=2), "all listed")
        table = said("failed", file)
        assert "other_1.dat" in table
        assert "is not allowed" in table
        assert "2 deliveries wait" in table
        assert table.count("its place is paused") == 2
        [paused] = listed(file)["places"]
        assert (paused["jobs"], paused["chain"]) == (2, "hrit")
        assert all(job["attempts"] == 0 for job in listed(file)["jobs"] if job["state"] == "paused")

        said("drop", file, "other_1*", answer="n\n", code=1)
        assert lists(file, paused=2, given_up=2)()
        said("drop", file, "--yes", code=2)
        assert said("drop", file, "other_1*", "--yes") == "1 dropped\n"
        client.until(": drop other_1*, 1 file: other_1.dat")
        assert lists(file, paused=2, given_up=1)()
        said("drop", file, "other_1*", "--yes", code=1)

        mood.refuses_login = False  # noticed by the next probe, which may be an hour away
        assert said("retry", file, "--now") == "2 tried now\n"
        ear.until(2)
        client.until("goes on after")
        assert "paused" not in said("failed", file)

        site.chain_options = {"allow": ["**"]}
        site.write("server.yaml", site.server_config())
        site.server.until("chain hrit changed")
        [job] = listed(file)["jobs"]
        assert said("retry", file, str(job["id"])) == "1 tried again\n"
        assert {message.data["uid"] for message in ear.until(3)} == {
            "full_1.dat",
            "full_2.dat",
            "other_2.dat",
        }
        assert said("failed", file) == "nothing has failed\n"

        assert client.stop() == 0
        mood.refuses_login = True
        said("retry", file, "--all", code=1)
        assert "other_1.dat" not in {message.data["uid"] for message in ear.of("file")}
        assert ftp.PASSWORD not in client.output + site.server.output
