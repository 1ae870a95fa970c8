"""A fetcher's files: ours, pytroll-fetcher's and the S3 downloader's as they are."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from posttroll.publisher import NoisyPublisher, create_publisher_from_dict_config

from tranship.config import ConfigError, Loaded, Overrides, load
from tranship.config.endpoints import NameServers, Provider

FETCHER: dict[str, Any] = {
    "destination": "/data/{platform_name}",
    "subscriber_config": {
        "addresses": ["tcp://127.0.0.1:40000"],
        "nameserver": False,
        "topics": ["/segment"],
    },
    "publisher_config": {"name": "fetched", "port": 40001, "nameservers": False},
}
DOWNLOADER: dict[str, Any] = {
    "logging": {"logging_mode": "DEBUG"},
    "subscribe-topic": ["/yuhu"],
    "publish-topic": "/idnt",
    "bucket": "archive",
    "download_destination": "/data/in",
    "subscriber_addresses": "tcp://127.0.0.1:40000,tcp://127.0.0.1:40001",
    "services": ["viirs"],
    "s3_kwargs": {"anon": False, "profile": "metno", "client_kwargs": {"endpoint_url": "https://s3.example"}},
}
OURS: dict[str, Any] = {
    "role": "fetch",
    "publish": 9040,
    "chains": {
        "c": {
            "providers": ["127.0.0.1:9010"],
            "topics": ["/a"],
            "allow": ["sftp://a.example/**"],
            "directory": "/data",
        }
    },
}


def loaded(tmp_path: Path, config: object, **overrides: Any) -> Loaded[Any]:
    file = tmp_path / "it.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    return load(file, overrides=Overrides(**overrides))


def test_pytroll_fetchers_file(tmp_path: Path) -> None:
    config = loaded(tmp_path, FETCHER).config
    assert (config.role, config.name, config.publish.port) == ("fetch", "fetched", 40001)
    assert config.nameservers == NameServers()
    chain = config.chains["fetcher"]
    assert chain.providers == (Provider("127.0.0.1", 40000),)
    assert chain.lookup == ()
    assert chain.topics == ("/segment",)
    assert chain.directory == "/data/{platform_name}"
    assert {"**", "file:///**", "gs://*/**"} < set(chain.allow)


@pytest.mark.parametrize(
    ("publisher", "port", "multicast"),
    [
        ({"nameservers": False}, 0, True),  # nobody could know it otherwise
        ({"nameservers": False, "port": 0}, 0, True),
        ({"nameservers": False, "port": 40001}, 40001, False),
        ({"nameservers": False, "address": "tcp://*:40002"}, 40002, False),
        ({"nameservers": None, "address": "tcp://*:40002"}, 0, True),
        ({"nameservers": []}, 0, True),
    ],
)
def test_where_the_fetcher_publishes(
    tmp_path: Path, publisher: dict[str, Any], port: int, multicast: bool
) -> None:
    config = loaded(tmp_path, FETCHER | {"publisher_config": {"name": "x"} | publisher}).config
    assert (config.publish.port, config.nameservers.multicast) == (port, multicast)
    theirs = create_publisher_from_dict_config({"name": "x"} | publisher)
    assert isinstance(theirs, NoisyPublisher) is multicast


def test_what_the_fetchers_file_does_not_say(tmp_path: Path) -> None:
    short = {"destination": "/data", "subscriber_config": {}, "publisher_config": {"name": "x"}}
    config = loaded(tmp_path, short).config
    assert config.nameservers == NameServers(multicast=True)
    assert config.publish.port == 0
    chain = config.chains["fetcher"]
    assert (chain.lookup, chain.services, chain.topics) == (("localhost",), (), ("",))


def test_the_s3_downloaders_file(tmp_path: Path) -> None:
    asked = loaded(tmp_path, DOWNLOADER, lookup="other.example").config
    assert asked.chains["s3downloader"].lookup == ("other.example",)  # `-r`
    told = loaded(tmp_path, DOWNLOADER, name_servers=("ns.example",))
    assert [finding.key for finding in told.warnings if finding.problem == "is not used"] == ["logging"]
    config = told.config
    assert config.nameservers == NameServers(("ns.example",))
    chain = config.chains["s3downloader"]
    assert chain.source == "s3://archive/"
    assert [provider.port for provider in chain.providers] == [40000, 40001]
    assert (chain.lookup, chain.services) == (("localhost",), ("viirs",))
    assert (chain.topics, chain.publish_topic) == (("/yuhu",), "/idnt")
    assert chain.directory == "/data/in"
    assert chain.connection_parameters.plain() == {
        "anon": False,
        "profile": "metno",
        "client_kwargs": {"endpoint_url": "https://s3.example"},
    }


def test_ours(tmp_path: Path) -> None:
    told = loaded(tmp_path, OURS)
    assert not told.warnings
    assert told.config.chains["c"].allow == ("sftp://a.example/**",)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"allow": ["**"], "login": "a:S3cret"}, "would be shown to any host"),
        ({"allow": ["gopher://a/**"]}, "no mover speaks `gopher`"),
        ({"directory": "data"}, "no full path"),
        ({"directory": "/data/{a[__class__]}"}, "proper name"),
        ({"source": "s3://a:S3cret@bucket/"}, "holds credentials"),
        ({"connection_parameters": {"tiemout": 3}}, "tiemout"),
        ({"topics": []}, "topics"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, {**OURS, "chains": {"c": {**OURS["chains"]["c"], **options}}})
    assert said in str(error.value), error.value
    assert "S3cret" not in str(error.value)
