"""The commands against real processes, in human and in JSON form."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stage import Site, wait_for
from tranship.cli import app
from tranship.journal.survey import survey

SECRET = "planted-secret"


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


def tranship(*words: str, **environment: str) -> Done:
    """Run `tranship …` to its end, in this process: a start of Python costs more than most commands."""
    result = CliRunner().invoke(app, words, env=environment, catch_exceptions=False)
    return Done(result.exit_code, result.stdout, result.stderr)


def process(*words: str) -> Done:
    """The same as a process of its own."""
    arguments = [sys.executable, "-m", "tranship", *words]
    done = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "250"},
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def good(*words: str, **environment: str) -> str:
    """What a command that succeeds says on stdout."""
    done = tranship(*words, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server and a client that have delivered a.dat."""
    with Site(tmp_path_factory.mktemp("site")) as made:
        made.chain_options["station"] = "north"
        made.start_server()
        ear = made.ear(made.client_port, made.topic)
        made.start_client()
        made.drop("a.dat", b"content of a")
        ear.until(1)
        journal = made.folder / "client.journal"
        wait_for(lambda: survey(journal).rows[0].numbers["published"], "the journal knows of it")
        yield made


@pytest.fixture
def server(site: Site) -> str:
    return f"127.0.0.1:{site.request_port}"


def test_ping(server: str) -> None:
    assert process("request", "ping", server) == Done(0, f"{server}: here is station north\n", "")
    assert good("request", "ping", server) == f"{server}: here is station north\n"
    assert json.loads(good("request", "ping", f"tcp://{server}", "--json")) == {"station": "north"}


def test_info(server: str) -> None:
    first, name = good("request", "info", server).splitlines()
    assert re.fullmatch(rf"{server}: up for \d:\d\d:\d\d\S*; newest first:", first)
    assert name == "  /1b/hrit/a.dat"
    told = json.loads(good("request", "info", server, "/1b", "--json", "-n", "5"))
    assert (told["files"], told["max_count"]) == (["/1b/hrit/a.dat"], 5)
    assert "nothing announced about /elsewhere" in good("request", "info", server, "elsewhere")


def test_push(site: Site, server: str) -> None:
    path, folder = site.incoming / "a.dat", f"file://{site.outgoing}/again/"
    assert good("request", "push", server, str(path), "-d", folder) == f"{path}: moved to {folder}a.dat\n"
    assert (site.outgoing / "again/a.dat").read_bytes() == b"content of a"
    (site.outgoing / "again/a.dat").write_bytes(b"spoilt")
    told = json.loads(good("request", "push", server, str(path), "-d", folder, "--json"))
    assert told["destination"] == folder
    assert (site.outgoing / "again/a.dat").read_bytes() == b"content of a"
    (site.outgoing / "again/a.dat").write_bytes(b"kept")
    good("request", "push", server, str(path), "-d", folder, "--once")
    assert (site.outgoing / "again/a.dat").read_bytes() == b"kept"


def test_push_that_is_refused(site: Site, server: str) -> None:
    path = str(site.incoming / "a.dat")
    done = tranship("request", "push", server, path, "-d", "file:///elsewhere/", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{server}: refused: destination file:///elsewhere/ is not allowed; add it")
    done = tranship("request", "push", server, f"{path}.not", "-d", f"file://{site.outgoing}/")
    assert done.returncode == 1
    assert "refused" in done.stderr
    assert "never announced" in done.stderr


def test_push_shows_no_secret_and_takes_none_from_the_command_line(site: Site, server: str) -> None:
    path, host = str(site.incoming / "a.dat"), "127.0.0.1:1/x/"
    done = tranship("request", "push", server, path, "-d", f"ftp://u:{SECRET}@{host}")
    assert done.returncode == 2
    assert "TRANSHIP_LOGIN" in done.stderr
    refused = tranship(
        "request", "push", server, path, "-d", f"ftp://{host}", TRANSHIP_LOGIN=f"u:{SECRET}#/@"
    )
    assert refused.returncode == 1
    assert f"destination ftp://{host} is not allowed" in refused.stderr  # it was read whole
    assert SECRET not in done.stderr + done.stdout + refused.stderr + refused.stdout + site.server.output
    help_ = good("request", "push", "--help", COLUMNS="200")
    assert "--login" not in help_


def test_push_shows_progress_and_is_patient_while_there_is_some(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.chain_options["connection_parameters"] = {"bandwidth": "3 MB/s"}
        site.start_server()
        path = site.drop("large.dat", os.urandom(12_000_000))
        site.server.until("announced ")
        words = "push", f"127.0.0.1:{site.request_port}", str(path), "-d", f"file://{site.outgoing}/"
        done = tranship("request", *words, "--timeout", "2", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["uid"] == "large.dat"
        assert re.search(r"large.dat: \d+\.\d of 12\.0 MB", done.stderr)


def test_request_where_nobody_answers() -> None:
    done = tranship("request", "ping", "127.0.0.1:1", "--timeout", "0.5")
    assert done.returncode == 69
    assert done.stderr.startswith("127.0.0.1:1: no answer within 0.5 s; does a server take requests there")


def test_status(site: Site) -> None:
    files = str(site.folder / "server.yaml"), str(site.folder / "client.journal")
    told = good("status", *files)
    assert f"server ({site.folder}/server.journal): running, " in told
    assert re.search(r"hrit +│ +1 │", told)
    server, client = json.loads(good("status", *files, "--json"))
    numbers = server["rows"][0]["numbers"]
    assert (numbers["announced"], numbers["had"]) == (1, 1)
    assert numbers["moved"] in (1, 2)  # `push` may have moved it elsewhere, too
    assert client["rows"][0]["numbers"]["published"] == 1
    assert (server["role"], client["role"]) == ("server", "client")
    assert server["health"]["pid"] == site.server.popen.pid


def test_trace(site: Site) -> None:
    files = str(site.folder / "server.yaml"), str(site.folder / "client.yaml")
    told = good("trace", "a.dat", *files)
    rows = [line.split("│") for line in told.splitlines() if line.startswith("│ 2")]
    steps = [row[3].strip() for row in rows]
    assert [row[2].strip() for row in rows][:4] == ["server", "server", "client", "client"]
    way = ["detected", "announced", "wanted", "requested", "requested", "moved", "verified", "published"]
    assert steps[:8] == way
    passages = json.loads(good("trace", str(site.incoming / "a.dat"), *files, "--json"))
    assert [passage["step"] for passage in passages][:8] == way
    unknown = tranship("trace", "b.dat", *files, "--json")
    assert (unknown.returncode, json.loads(unknown.stdout)) == (1, [])
    assert unknown.stderr.startswith("b.dat: unknown to ")


def test_a_second_process_on_the_same_journal_says_so(site: Site) -> None:
    other = site.server_config() | {"publish": 0}
    other["chains"] = {name: {**chain, "request": 0} for name, chain in other["chains"].items()}
    done = process("server", str(site.write("other.yaml", other)))
    assert done.returncode == 69
    assert "server.journal: another process uses it; is this one started twice?" in done.stderr


def test_of_a_configuration_that_is_no_good_the_journal_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("role: server\nchain: {}\n")
    done = tranship("status", str(tmp_path / "bad.yaml"))
    assert done.returncode == 78
    assert "bad.yaml:2: chain: is no option; did you mean `chains`?" in done.stderr
    assert done.stderr.endswith("until that is mended, give the journal instead\n")


def test_status_and_trace_before_the_first_run(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        file = site.write("server.yaml", site.server_config())
    for words in (("status",), ("trace", "a.dat")):
        done = tranship(*words, str(file))
        assert done.returncode == 69
        assert done.stderr.startswith(
            f"{tmp_path}/server.journal: there is no such journal; has its process run"
        )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"SQLite format 3\0" + bytes(4000), "can't be read as a journal"),
        (b"[sat]\nwhat = 1\n", "does not tell whose file it is"),
        (b"", "is empty"),
    ],
)
def test_status_of_what_is_no_journal(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "it").write_bytes(content)
    done = tranship("status", str(tmp_path / "it"))
    assert done.returncode in (69, 78)
    assert f"{tmp_path}/it" in done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_check_of_good_and_of_broken_files(site: Site, tmp_path: Path) -> None:
    file = site.folder / "client.yaml"
    assert good("check", str(file)) == f"{file}: good, role client, 1 chain: hrit\n"
    told = json.loads(good("check", str(file), "--json"))
    assert (told["good"], told["role"], told["chains"], told["warnings"]) == (True, "client", ["hrit"], [])
    broken = tmp_path / "server.yaml"
    broken.write_text((site.folder / "server.yaml").read_text().replace("topic:", "topik:"))
    done = tranship("check", str(broken))
    line = broken.read_text().split("topik")[0].count("\n") + 1
    assert done.returncode == 78
    assert f"{broken}:{line}: chains.hrit.topik: " in done.stderr
    assert "did you mean `topic`?" in done.stderr
    done = tranship("check", str(broken), "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["good"]) == (78, False)
    assert (line, "chains.hrit.topik") in [(error["line"], error["key"]) for error in told["errors"]]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (
            ["check", "/no/such.yaml"],
            78,
            "/no/such.yaml: can't be read: No such file or directory; is this the path",
        ),
        (["check", "/"], 78, "/: can't be read: Is a directory"),
        (
            ["server", "/no/such.yaml"],
            78,
            "/no/such.yaml: can't be read: No such file or directory; is this the path",
        ),
        (["client", "/"], 78, "/: can't be read: Is a directory"),
        (["status", "/no/such.yaml"], 78, "/no/such.yaml: can't be read"),
        (["check", "nope://host/x"], 2, "no mover speaks `nope`"),
        (["check", "file:///x", "-o", "timeut=3"], 2, "the nearest is `timeout`"),
        (["check", "file:///x", "-o", "timeout"], 2, "write it as timeout=value"),
        (["check", f"sftp://u:{SECRET}@h/x"], 2, "TRANSHIP_LOGIN"),
        (["check", "sftp://127.0.0.1:1/x"], 69, "sftp://127.0.0.1:1/: Connection refused; is the host up"),
        (["request", "ping", "nohost"], 2, "write it as host:port"),
        (["request", "info", "127.0.0.1:99999"], 2, "write it as host:port"),
        (["request", "push", "127.0.0.1:1", "/x", "-d", "/x/"], 2, "write it as scheme://host/path"),
        (["request", "push", "127.0.0.1:1", "x", "-d", "file:///x/"], 2, "is no full path"),
        (["server", "x.yaml", "-p", "99999"], 2, "65535"),
        (["server", "x.yaml", "--metrics", "99999"], 2, "65535"),
        (["nonsense"], 2, "No such command"),
        (["status", "--nonsense"], 2, "No such option"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else None,
)
def test_what_can_not_be(words: list[str], code: int, told: str) -> None:
    done = process(*words) if words[0] in ("server", "client") else tranship(*words, COLUMNS="250")
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stderr


def test_roles_refuse_each_others_files_and_ports(site: Site, tmp_path: Path) -> None:
    file = str(site.folder / "server.yaml")
    done = process("client", file)
    assert done.returncode == 78
    assert "this file is for a server, not for a client; start `tranship server` with it" in done.stderr
    other = site.server_config() | {"journal": str(tmp_path / "other.journal")}
    done = process("server", str(site.write("other.yaml", other)))
    assert done.returncode == 69
    assert f"tcp://127.0.0.1:{site.publish_port} can't be listened on: Address already in use" in done.stderr
    assert "`ss -ltnp` shows who" in done.stderr
    assert "Traceback" not in done.stderr


def test_command_lines_of_the_old_kind(tmp_path: Path) -> None:
    log = tmp_path / "old.log"
    with Site(tmp_path) as site:
        file = str(site.write("server.yaml", site.server_config()))
        old = "--chain-check-interval", "30", "--max-notifier-restarts", "10", "-l", str(log), "-w", "-v"
        started = site.tranship("it", "server", file, "-p", str(site.publish_port), "--disable-backlog", *old)
        wait_for(lambda: log.exists() and " ready" in log.read_text(), "ready in the log file")
        assert started.stop() == 0
        assert started.output == ""
        done = process("client", file, "-l", f"{tmp_path}/no/such/folder/x.log")
        assert done.returncode == 2
        assert "can't be written: No such file or directory" in done.stderr
        done = process("fetch", file, "-r", "ns.example", "--nameservers", "a.example", "b.example")
        assert "this file is for a server, not for a fetch" in done.stderr  # the flags were understood


def test_check_tries_the_promises_at_a_place(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/place"
    *promises, summary = good("check", url).splitlines()
    assert len(promises) > 20
    assert all(line.startswith(("holds ", "not offered ")) for line in promises)
    assert re.fullmatch(rf"{url}: all \d+ promises that it can make hold; .* {url}/tranship-check", summary)
    told = json.loads(good("check", url, "--json", "-o", "timeout=10 s"))
    assert told["place"] == url
    assert {promise["verdict"] for promise in told["promises"]} <= {"holds", "not offered"}
    assert not [path for path in (tmp_path / "place").rglob("*") if path.is_file()]


def test_requests_to_a_server_of_the_old_kind(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        (tmp_path / "old.ini").write_text(
            f"[old]\norigin={site.incoming}/{{name}}.dat\ntopic=/1b/old\nstation=south\n"
            f"request_port={site.request_port}\n"
        )
        script = Path(sys.executable).with_name("move_it_server.py")
        old = site.run("old", [str(script), "-p", str(site.publish_port), str(tmp_path / "old.ini")])
        server, folder = f"127.0.0.1:{site.request_port}", f"file://{site.outgoing}/"
        assert good("request", "ping", server, "--timeout", "30") == f"{server}: here is station south\n"
        path = str(site.drop("a.dat", b"a"))
        assert json.loads(good("request", "info", server, "--json"))["max_count"] == 20
        assert good("request", "push", server, path, "-d", folder) == f"{path}: moved to {folder}a.dat\n"
        refused = tranship("request", "push", server, f"{path}.no", "-d", folder)
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"{server}: refused or failed: ")
        old.close()
