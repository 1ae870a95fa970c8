"""What systemd tells a service of its journal, a shell is not told."""

from pathlib import Path

import pytest

from tranship.cli import status


def test_without_a_journal_of_its_own_the_service_s_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "SERVICES", tmp_path / "var")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    file = tmp_path / "sat.yaml"
    chain = "{providers: [a:1], topic: /a, destination: /data/}"
    file.write_text(f"role: client\nchains:\n  a: {chain}\n")
    own, services = tmp_path / "home/tranship/sat.journal", tmp_path / "var/sat.journal"
    assert status.journal_of(file) == own
    services.parent.mkdir()
    services.touch()
    assert status.journal_of(file) == services
    own.parent.mkdir(parents=True)
    own.touch()
    assert status.journal_of(file) == own
    own.unlink()
    named = tmp_path / "named/sat.journal"
    file.write_text(f"role: client\njournal: {named}\nchains:\n  a: {chain}\n")
    assert status.journal_of(file) == named
