"""What was delivered is delivered and published once more: by `tranship resend`, or asked for by anybody."""

from pathlib import Path

from posttroll.message import Message as Theirs
from typer.testing import CliRunner

from stage import Site, wait_for
from tranship.cli import app
from tranship.wire.messages import decode
from whole_family import Family


def said(*words: str, answer: str = "", code: int = 0) -> str:
    """What `tranship …` says, and ends with code."""
    result = CliRunner().invoke(app, words, input=answer, env={"COLUMNS": "250"}, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_clients_and_servers_have_it_go_its_way_once_more(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.start_server()
        ear = site.ear(site.client_port, site.topic)
        client = site.start_client()
        for name in ("a1.dat", "a2.dat", "b1.dat"):
            site.drop(name, name.encode())
        before = {message.data["uid"]: message.data for message in ear.until(3)}
        file = str(tmp_path / "client.yaml")
        asked = ("resend", file, "*", "--dry-run")
        wait_for(lambda: "would resend 3" in CliRunner().invoke(app, asked).output, "all noted")

        listed = said("resend", file, "a*", "--topic", site.topic, "--since", "1 h", "--dry-run").splitlines()
        assert [line.split()[4] for line in listed[:-1]] == ["a1.dat", "a2.dat"]
        assert listed[-1] == "would resend 2"
        assert "nothing of that kind" in said(
            "resend", file, "a*", "--until", "2020-01-01", "--dry-run", code=1
        )
        assert "nothing of that kind" in said("resend", file, "a*", "--topic", "/2", "--dry-run", code=1)
        said("resend", file, code=2)
        said("resend", file, "*", "--since", "yesterday", code=2)
        said("resend", file, "a*", answer="n\n", code=1)

        (site.outgoing / "a2.dat").unlink()  # one that is gone, one that lies there still
        assert said("resend", file, "a*", "--yes") == "2 resent\n"
        again = ear.until(5)[3:]
        assert {message.data["uid"]: message.data for message in again} == {
            name: before[name] for name in ("a1.dat", "a2.dat")
        }
        assert set(site.delivered()) == {"a1.dat", "a2.dat", "b1.dat"}
        client.until("ordered by ").until("resend a*, 2 files: a1.dat, a2.dat")

        # the server announces it once more; what is there no more, it can't
        server = str(tmp_path / "server.yaml")
        (site.incoming / "a2.dat").unlink()
        listed = said("resend", server, "a*", "--since", "1 h", "--dry-run").splitlines()
        assert [line.split()[3:] for line in listed] == [
            [site.topic, "a1.dat", f"{site.incoming}/a1.dat"],
            [site.topic, "a2.dat", f"{site.incoming}/a2.dat", "(gone)"],
            ["1", "gone", "from", "here"],
        ]
        assert said("resend", server, "a*", "--yes") == "1 resent; 1 gone from here\n"
        once_more = ear.until(6)[5].data
        assert {**once_more, "tranship": 0} == {**before["a1.dat"], "tranship": 0}
        assert once_more["tranship"]["id"] != before["a1.dat"]["tranship"]["id"]
        site.server.until("ordered by ").until("resend a*, 2 files: a1.dat, a2.dat").until("can't be resent")
        assert "nothing to resend; 1 gone" in said("resend", server, "a2*", "--yes", code=1)

        # by hand, as any posttroll client can: the server moves what it announced, wherever that is allowed
        (site.outgoing / "b1.dat").unlink()
        data = {
            "uri": f"{site.incoming}/b1.dat",
            "uid": "b1.dat",
            "destination": f"file://{site.outgoing}/by hand/",
        }
        with site.asking() as ask:
            told = ask(str(Theirs(site.topic, "push", data)).encode())
        assert told.type == "file", told
        assert Theirs(rawstr=told.encode().decode()).data["uid"] == "b1.dat"
        assert decode(told.encode()).data["destination"] == f"file://{site.outgoing}/by hand/"
        assert (site.outgoing / "by hand/b1.dat").read_bytes() == b"b1.dat"


def test_any_posttroll_client_may_ask_a_server_or_a_mirror_by_hand(tmp_path: Path) -> None:
    """Posttroll's own messages over a plain REQ socket, as the page for operators says."""
    with Family(tmp_path) as family:
        family.start("server", "mirror")
        family.feed("good_1.dat")
        wait_for(lambda: family.told("mirror", "good_1.dat"), "announced by both")
        path, topic = f"{family.incoming}/good_1.dat", family.topic
        for role, folder in (("server", "copies/bad"), ("mirror", "outgoing/ugly")):
            destination = f"file://{tmp_path}/{folder}/"

            def asked(kind: str, data: object, role: str = role) -> Theirs:
                with family.asking(family.request_ports[role]) as ask:
                    return Theirs(rawstr=ask(str(Theirs(topic, kind, data)).encode()).encode().decode())

            assert asked("ping", {}).type == "pong"
            assert asked("info", {}).data["files"] == [f"{topic}/good_1.dat"]
            for _ in range(2):  # again, too: it is there
                told = asked("push", {"uri": path, "uid": "good_1.dat", "destination": destination})
                assert (told.type, told.data["destination"]) == ("file", destination), told
                assert (tmp_path / folder / "good_1.dat").read_bytes() == b"good_1.dat"
            refused = asked("push", {"uri": path, "uid": "good_1.dat", "destination": "file:///etc/"})
            assert refused.type == "err"
            assert "is not allowed" in str(refused.data)
            odd = asked("push", {"uri": f"{path}.not", "uid": "x", "destination": destination})
            assert odd.type == "err"
            assert asked("nonsense", {}).type == "unknown"
        family.close()
