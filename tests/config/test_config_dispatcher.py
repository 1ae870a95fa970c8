"""A dispatcher's files: ours, and Trollmoves' as they are."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tranship.config import ConfigError, Loaded, Overrides, load
from tranship.config.endpoints import NameServers, Provider
from tranship.config.moving_checks import logins_of
from tranship.core.routing import AnyOf, Compared, Unless

OLD: dict[str, Any] = {
    "posttroll_subscriber": {
        "subscribe_addresses": ["tcp://127.0.0.1:40000"],
        "nameserver": "ns.example",
        "subscribe_services": ["viirs", "avhrr"],
    },
    "target1": {
        "host": "ftp://anna:s%40cret@ftp.example",
        "connection_parameters": {"connection_uptime": 60, "nonsense": 3},
        "filepattern": "{platform_name}_{start_time}.{format}",
        "directory": "/input_data/{sensor}",
        "publish_topic": "/new/topic/{platform_name}",
        "aliases": {"product": {"natural_color": "dnc"}, "variant": [{"_alias_name": "v", "a": "b"}]},
        "dispatch_configs": [
            {
                "topics": ["/level2/viirs"],
                "conditions": [
                    {"product": ["green_snow", 3], "day": True, "except": {"platform_name": "NOAA-15"}}
                ],
            },
            {"topics": ["/level3"], "directory": "/p", "host": "", "conditions": [{"coverage": ">50"}]},
        ],
    },
}


def loaded(tmp_path: Path, config: object, **overrides: Any) -> Loaded[Any]:
    file = tmp_path / "it.yaml"
    file.write_text(config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False))
    file.chmod(0o600)
    return load(file, "dispatcher", overrides=Overrides(**overrides))


def test_trollmoves_file_means_what_it_meant(tmp_path: Path) -> None:
    told = loaded(tmp_path, OLD, publish_port=9031)
    assert told.config.publish.port == 9031
    assert told.config.nameservers == NameServers(multicast=True)
    chain = told.config.chains["target1"]
    assert chain.providers == (Provider("127.0.0.1", 40000),)
    assert chain.lookup == ("ns.example",)
    assert chain.services == ("viirs", "avhrr")
    assert chain.host == "ftp://ftp.example"
    assert {host: login.get_secret_value() for host, login in logins_of(chain).items()} == {
        "ftp://ftp.example": "anna:s@cret"
    }
    assert chain.publish_topic == "/new/topic/{platform_name}"
    assert [(alias.key, alias.name, dict(alias.words)) for alias in chain.aliases] == [
        ("product", "product", {"natural_color": "dnc"}),
        ("variant", "v", {"a": "b"}),
    ]
    one, two = chain.routes
    assert set(one.conditions[0]) == {
        AnyOf("product", ("green_snow", 3)),
        AnyOf("day", (True,)),
        Unless((AnyOf("platform_name", ("NOAA-15",)),)),
    }
    assert (two.host, two.directory, two.conditions) == ("", "/p", ((Compared("coverage", ">50"),),))
    assert "nonsense" in str(told.warnings)
    assert "s@cret" not in repr(told.config)


def test_without_a_port_nothing_is_published(tmp_path: Path) -> None:
    config = loaded(tmp_path, OLD).config
    assert config.publish is None
    assert config.chains["target1"].publish_topic is None


def test_name_servers_of_the_command_line(tmp_path: Path) -> None:
    config = loaded(tmp_path, OLD, publish_port=0, name_servers=("a.example", "b.example")).config
    assert config.nameservers == NameServers(("a.example", "b.example"))


def test_yaml_of_the_old_kind_reads_its_truth_values(tmp_path: Path) -> None:
    text = """\
t:
  directory: /x
  dispatch_configs:
    - topics: [/a]
      conditions: [{flag: yes, quoted: 'yes', level: 010, empty: ~}]
"""
    [conditions] = loaded(tmp_path, text).config.chains["t"].routes[0].conditions
    assert [c.values for c in conditions] == [(True,), ("yes",), (8,), (None,)]


def test_odd_values_mean_what_they_mean_there(tmp_path: Path) -> None:
    way = {"topics": ["/a"], "aliases": {"x": {"a": "b"}}, "connection_parameters": {"connection_uptime": 20}}
    target = {"host": "ftp://ftp.example/in/", "directory": "in", "dispatch_configs": [way]}
    here = target | {"host": "", "directory": "out/{sensor}"}
    told = loaded(tmp_path, {"posttroll_subscriber": {"nameserver": False}, "t": target, "u": here})
    t, u = told.config.chains.values()
    assert (t.lookup, t.providers) == (("localhost",), ())  # without addresses there is no other way
    assert (t.host, t.directory, u.directory) == ("ftp://ftp.example", "in", f"{Path.cwd()}/out/{{sensor}}")
    assert t.routes[0].aliases[0].words == {"a": "b"}
    assert t.routes[0].connection_parameters.plain() == {"connection_uptime": 20}
    assert [w.problem for w in told.warnings if w.key == "t.host"] == ["holds a path, which is not used"]
    addressed = loaded(tmp_path, {"posttroll_subscriber": {"subscribe_addresses": "tcp://h:1"}, "t": target})
    assert addressed.config.chains["t"].lookup == ("localhost",)


OURS: dict[str, Any] = {
    "role": "dispatcher",
    "publish": 9030,
    "defaults": {"providers": ["127.0.0.1:9010"], "allow": ["file:///data/**"]},
    "chains": {"t": {"directory": "/x", "publish_topic": "/y", "routes": [{"topics": "/a"}]}},
}


def changed(**options: Any) -> dict[str, Any]:
    return {**OURS, "chains": {"t": {**OURS["chains"]["t"], **options}}}


def test_ours(tmp_path: Path) -> None:
    told = loaded(tmp_path, OURS)
    assert told.config.chains["t"].routes[0].topics == ("/a",)
    assert not told.warnings


@pytest.mark.parametrize(
    ("allow", "problem"),
    [
        ([], "allows no file, so that every message is refused"),
        ("file:///**", "allows every file that this user"),
    ],
)
def test_no_file_and_every_file_are_warned_of(tmp_path: Path, allow: Any, problem: str) -> None:
    [warning] = loaded(tmp_path, changed(allow=allow)).warnings
    assert warning.problem.startswith(problem)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"host": "ftp://anna:S3cret@a.example"}, "host: holds credentials; put them into `login`"),
        ({"host": "ftp://a.example/in"}, "no host"),
        (
            {"allow": ["sftp://a.example/**"]},
            "names no files of this host; give files of this host, like file:///data/**",
        ),
        ({"allow": ["**"]}, "file:///** are all of them"),
        ({"allow": ["file:///data/../etc/**"]}, "holds `..`"),
        ({"host": "gopher://a.example"}, "no mover speaks `gopher`"),
        ({"directory": "/x/{}"}, "proper name"),
        ({"directory": "/x/{a.__class__}"}, "proper name"),
        ({"directory": "/x/{a:{b}}"}, "is to come from a message"),
        ({"directory": "/x/../y"}, "climbs"),
        ({"directory": None}, "nothing says the directory"),
        ({"routes": []}, "routes"),
        ({"routes": [{"topics": ["/a"], "conditions": [{"x": "<y"}]}]}, "no comparison"),
        ({"routes": [{"topics": ["/a"], "conditons": []}]}, "did you mean `conditions`?"),
        ({"routes": [{"topics": ["/a"], "login": "a:S3cret"}]}, "belongs to no host of this route"),
        (
            {
                "host": "ftp://a.example",
                "login": "a:S3cret",
                "routes": [{"topics": ["/a"], "host": "ftp://a.example", "login": "b:S3cret"}],
            },
            "several logins for ftp://a.example",
        ),
        ({"connection_parameters": {"tiemout": 3}}, "tiemout"),
        ({"routes": [{"topics": ["/a"], "connection_parameters": {"tiemout": 3}}]}, "tiemout"),
        (
            {
                "host": "ftp://a.example",
                "routes": [{"topics": ["/a"]}, {"topics": ["/b"], "connection_parameters": {"timeout": 3}}],
            },
            "several `connection_parameters` for ftp://a.example",
        ),
        ({"aliases": {"product": 3}}, "aliases"),
        ({"providers": []}, "nobody is heard"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, changed(**options))
    assert said in str(error.value), error.value
    assert all(finding.line > 1 for finding in error.value.findings)
    assert "S3cret" not in str(error.value)


def test_a_slip_in_an_item_of_a_list_is_told_of_the_item_only(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, changed(routes=[{"topick": ["/a"]}]))
    assert sorted(finding.key for finding in error.value.findings) == [
        "chains.t.routes.topick",
        "chains.t.routes.topics",
    ]
