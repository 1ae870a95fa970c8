"""The examples in config/ load, and docs/configuration.md says what the options say."""

import re
from pathlib import Path

import pytest
import yaml
from test_examples_run import NEW as LOADED

from tranship.config import Overrides, Parameters, Stable, load, taken_on_trust
from tranship.config.load import ROLES
from tranship.config.reference import page

HERE = Path(__file__).parents[2]


@pytest.fixture
def credentials(tmp_path, monkeypatch):
    (tmp_path / "archive-login").write_text("transfer:planted-secret\n")
    (tmp_path / "archive-login").chmod(0o600)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))


def test_server_example_closes_every_door_it_can():
    loaded = load(HERE / "config/server.yaml", "server", folders=taken_on_trust)
    assert loaded.warnings == ()
    segments, rapid = loaded.config.chains.values()
    assert segments.request.address == "tcp://192.0.2.10:9094"
    assert segments.allow == rapid.allow
    assert segments.allow == (
        "sftp://archive.example/data/hrit/**",
        "file:///data/quicklooks/**",
        "sftp://192.0.2.20/var/spool/mirror/**",
    )
    assert segments.info == {"sensor": "seviri", "variant": "0DEG"}
    assert rapid.settle == Stable(rapid.poll_interval * 5)
    assert rapid.delete
    assert not segments.delete


@pytest.mark.usefixtures("credentials")
def test_client_example_gets_its_login_from_a_credential():
    loaded = load(HERE / "config/client.yaml", "client")
    assert loaded.warnings == ()
    chain = loaded.config.chains["hrit-0deg"]
    assert chain.login.get_secret_value() == "transfer:planted-secret"
    assert "planted-secret" not in repr(loaded)
    assert [provider.address for provider in chain.providers] == [
        "tcp://192.0.2.10:9010",
        "tcp://192.0.2.11:9010",
    ]


def test_legacy_server_example():
    loaded = load(HERE / "config/legacy/server.ini", folders=taken_on_trust)
    segments, rapid = loaded.config.chains.values()
    assert (segments.station, segments.request.address, segments.allow) == ("kiruna", "tcp://*:9094", ("**",))
    assert rapid.connection_parameters == Parameters(
        {"ssh_key_filename": "/etc/tranship/id_ed25519", "connection_uptime": "60"}
    )
    # its old reach is told, and nothing else is odd
    assert len(loaded.warnings) == 3
    assert all("all interfaces" in warning.problem for warning in loaded.warnings)


def test_legacy_client_example():
    loaded = load(HERE / "config/legacy/client.ini")
    segments, spare = loaded.config.chains.values()
    assert segments.replace == {"platform_name": {"MSG3": "Meteosat-10", "MSG4": "Meteosat-11"}}
    assert segments.nameservers.multicast
    assert not spare.nameservers
    assert spare.processing_delay.total_seconds() == 0.2
    assert len(loaded.warnings) == 2
    assert all("all interfaces" in warning.problem for warning in loaded.warnings)


def test_both_examples_of_dispatching_send_the_same_to_the_same():
    ours = load(HERE / "config/dispatcher.yaml")
    theirs = load(HERE / "config/legacy/dispatcher.yaml", overrides=Overrides(publish_port=9030))
    same = {"directory", "filepattern", "aliases", "routes", "publish_topic", "providers"}
    assert [chain.model_dump(include=same) for chain in ours.config.chains.values()] == [
        chain.model_dump(include=same) for chain in theirs.config.chains.values()
    ]


def test_both_examples_of_cleaning_mean_the_same():
    ours = load(HERE / "config/clean.yaml")
    theirs = load(HERE / "config/legacy/clean.ini")
    assert ours.warnings == ()
    assert [chain.model_dump() for chain in ours.config.chains.values()] == [
        chain.model_dump() for chain in theirs.config.chains.values()
    ]
    assert ours.config.mail.host == theirs.config.mail.host
    assert [warning.problem for warning in theirs.warnings] == [
        "publishes on all interfaces, as INI files always did"
    ]


def test_every_example_is_tested_here():
    files = {str(path.relative_to(HERE)) for path in (HERE / "config").rglob("*.*")}
    assert files >= {
        "config/server.yaml",
        "config/client.yaml",
        "config/legacy/server.ini",
        "config/legacy/client.ini",
    }
    text = Path(__file__).read_text()
    loaded = {f"config/{name}.yaml" for name in LOADED}
    assert [name for name in files - loaded if name not in text] == []


def test_every_role_has_an_example():
    roles = {yaml.safe_load(file.read_text())["role"] for file in (HERE / "config").glob("*.yaml")}
    assert roles == set(ROLES)


def test_every_example_is_run():
    run = (HERE / "tests/config/test_examples_run.py").read_text()
    for file in (HERE / "config").glob("*.yaml"):
        assert re.search(rf'here\.(start|text)\(("[a-z]+", )?"{file.stem}"', run), file


def test_the_page_is_made_from_the_options():
    assert (HERE / "docs/configuration.md").read_text() == page(), "run `make docs`"
