"""The systemd units: what systemd says of them, and what they must hold whether it is here or not."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tranship.config.load import ROLES
from tranship.run.supervisor import Exit, Pace

FOLDER = Path(__file__).parents[2] / "systemd"
DAEMONS = tuple(role for role in ROLES if role != "clean")
"""Roles whose units differ in nothing but the role; what holds for one holds for all."""
KINDS = ("server", "clean")
"""One of each kind of unit: what runs for ever, and what runs once."""
EXPOSURE = 16
"""At most, in tenths; systemd's scale goes from 0 to 100, and calls all below 20 OK."""


def unit(role: str) -> Path:
    return FOLDER / f"tranship-{role}@.service"


def settings(file: Path) -> dict[str, list[str]]:
    """Key to values, in order; a key may come again."""
    found: dict[str, list[str]] = {}
    for line in file.read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask systemd-analyze; where it is not, skip, or fail if this is a strict run."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        if os.environ.get("TRANSHIP_TEST_STRICT") == "1":
            pytest.fail("systemd-analyze is not here, and TRANSHIP_TEST_STRICT=1")
        pytest.skip("systemd-analyze is not here")
    return subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(params=KINDS)
def instance(request, tmp_path: Path) -> Path:
    """A unit under the name of an instance of it."""
    return shutil.copy(unit(request.param), tmp_path / f"tranship-{request.param}@sat.service")


def test_systemd_has_nothing_to_say_against_it(instance):
    told = analyze("verify", "--man=no", str(instance))
    assert (told.stdout, told.stderr, told.returncode) == ("", "", 0)


def test_systemd_would_have_said_something(instance):
    instance.write_text(instance.read_text().replace("ProtectClock=", "ProtectClocks="))
    told = analyze("verify", "--man=no", str(instance))
    assert "ProtectClocks" in told.stderr


def test_it_is_well_closed(instance):
    told = analyze("security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", str(instance))
    assert told.returncode == 0, told.stdout
    instance.write_text(instance.read_text().replace("SystemCallFilter=", "#"))
    assert analyze("security", "--offline=true", f"--threshold={EXPOSURE}", str(instance)).returncode != 0


def test_the_drop_in_for_data_fits(instance):
    drop_in(instance, "data.conf")
    told = analyze("verify", "--man=no", str(instance))
    assert (told.stdout, told.stderr, told.returncode) == ("", "", 0)
    drop_in(instance, "data.conf").write_text("[Service]\nReadWritePath=/data\n")
    assert "ReadWritePath" in analyze("verify", "--man=no", str(instance)).stderr  # it was read


def test_the_drop_in_for_newer_systemd_fits(instance):
    version = int(analyze("--version").stdout.split()[1].partition(".")[0])
    drop_in(instance, "systemd-254.conf")
    told = analyze("verify", "--man=no", str(instance))
    odd = [line.partition(": ")[2] for line in told.stderr.splitlines()]
    older = [
        "Failed to parse service type, ignoring: notify-reload",
        "Unknown key 'RestartSteps' in section [Service], ignoring.",
        "Unknown key 'RestartMaxDelaySec' in section [Service], ignoring.",
    ]
    assert odd == ([] if version >= 254 else older)  # an older systemd stumbles over nothing else


def drop_in(instance: Path, name: str) -> Path:
    """Put a drop-in beside the unit."""
    folder = instance.with_name(instance.name + ".d")
    folder.mkdir(exist_ok=True)
    return Path(shutil.copy(FOLDER / "drop-ins" / name, folder))


CLOSED = {
    "NoNewPrivileges": "true",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "ProtectSystem": "strict",
    "ProtectHome": "true",
    "PrivateTmp": "true",
    "PrivateDevices": "true",
    "ProtectProc": "invisible",
    "ProtectClock": "true",
    "ProtectHostname": "true",
    "ProtectKernelTunables": "true",
    "ProtectKernelModules": "true",
    "ProtectKernelLogs": "true",
    "ProtectControlGroups": "true",
    "RestrictSUIDSGID": "true",
    "RestrictRealtime": "true",
    "RestrictNamespaces": "true",
    "LockPersonality": "true",
    "MemoryDenyWriteExecute": "true",
    "SystemCallArchitectures": "native",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    "LimitCORE": "0",
    "User": "tranship",
}


@pytest.mark.parametrize("role", KINDS)
def test_it_has_no_privileges(role):
    found = settings(unit(role))
    assert {key: found.get(key) for key in CLOSED} == {key: [value] for key, value in CLOSED.items()}
    assert found["SystemCallFilter"] == ["@system-service", "~@privileged @resources"]
    assert "ReadWritePaths" not in found  # by drop-in only


def test_it_fits_what_the_process_does():
    found = settings(unit("server"))
    assert found["LoadCredential"] == [
        "tranship-%i.login"
    ]  # from the credential store: its absence is no error
    assert found["StateDirectory"] == ["tranship"]
    assert found["Type"] == ["notify"]
    assert found["Restart"] == ["on-failure"]
    assert found["StartLimitIntervalSec"] == ["0"]
    assert found["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    pace = Pace()
    assert seconds(found["TimeoutStopSec"]) > pace.drain + 4 * pace.grace
    assert seconds(found["WatchdogSec"]) > 10 * pace.beat
    clean = {int(code) for code in found["SuccessExitStatus"][0].split()}
    assert clean == {Exit.UNFINISHED, 128 + 2, 128 + 15}


def seconds(values: list[str]) -> float:
    (value,) = values
    assert value.endswith("s")
    return float(value.removesuffix("s"))


@pytest.mark.parametrize("role", [role for role in DAEMONS if role != "server"])
def test_the_units_of_daemons_differ_in_their_role_only(role):
    server = unit("server").read_text()
    for word in ("Tranship {}", "tranship {}", "tranship-{}"):
        server = server.replace(word.format("server"), word.format(role))
    assert server == unit(role).read_text()


def test_a_timer_cleans_every_hour(tmp_path):
    service = shutil.copy(unit("clean"), tmp_path / "tranship-clean@data.service")
    timer = shutil.copy(FOLDER / "tranship-clean@.timer", tmp_path / "tranship-clean@data.timer")
    told = analyze("verify", "--man=no", str(timer), str(service))
    assert (told.stdout, told.stderr, told.returncode) == ("", "", 0)
    assert settings(unit("clean"))["Type"] == ["oneshot"]
    assert settings(Path(timer))["OnCalendar"] == ["hourly"]


def test_every_role_has_a_unit_and_every_unit_a_role():
    assert {file.name for file in FOLDER.glob("*@.*")} == {
        *(f"tranship-{role}@.service" for role in (*DAEMONS, "clean")),
        "tranship-clean@.timer",
    }


@pytest.mark.parametrize("role", ROLES)
def test_the_pages_name_every_role(role):
    told = (FOLDER / "README.md").read_text()
    assert f"`{role}`" in told or f"`tranship-{role}@" in told
    assert (FOLDER.parent / f"docs/roles/{role}.md").exists()


@pytest.mark.parametrize("role", [*DAEMONS, "clean"])
def test_its_command_is_one_that_the_command_line_knows(role, tmp_path):
    (command,) = settings(unit(role))["ExecStart"]
    words = shlex.split(command.replace("%i", "sat"))
    assert words[:2] == ["/usr/bin/env", "tranship"]
    config = tmp_path / "sat.yaml"
    config.write_text("no such option: 1\n")
    tranship = [sys.executable, "-m", "tranship", *words[2:-1], str(config)]
    told = subprocess.run(tranship, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == Exit.CONFIG, told.stderr  # not 2: the command line was understood
    assert "sat.yaml:1" in told.stderr
