"""A mirror's file: its own options, and the INI file of Trollmoves as it is."""

from datetime import timedelta
from pathlib import Path

import pytest

from tranship.config import ConfigError, MirrorConfig, Overrides, load

INI = """\
[hrit]
origin = /data/{series}.dat
client_topic = /1b/hrit
providers = hub1:9010 hub2:9020/1b/other
destination = ssh.example/
topic = /not/read
request_port = 9094
request_address = mirror.example
delay = 2
delete = True
remove_delay = 5
req_timeout = 3
station = kiruna
login = me:greatPassword
connection_parameters__ssh_key_filename = /home/me/.ssh/id
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mirror"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_their_file_runs_as_it_is(tmp_path: Path) -> None:
    text = INI.replace("ssh.example/", "/data/mirror")
    loaded = load(write(tmp_path, text), "mirror", overrides=Overrides(publish_port=9011))
    config: MirrorConfig = loaded.config
    chain = config.chains["hrit"]
    assert (config.publish.port, config.name) == (9011, "move_it_mirror")
    assert [(p.address, chain.topic_of(p)) for p in chain.providers] == [
        ("tcp://hub1:9010", "/1b/hrit"),
        ("tcp://hub2:9020", "/1b/other"),
    ]
    assert chain.destination == "file:///data/mirror/"
    assert (chain.request.port, chain.request_address, chain.station) == (9094, "mirror.example", "kiruna")
    assert (chain.delay, chain.remove_delay) == (timedelta(seconds=2), timedelta(seconds=5))
    assert (chain.delete, chain.allow) == (True, ("**",))
    assert chain.login is not None
    assert chain.login.get_secret_value() == "me:greatPassword"
    assert "greatPassword" not in repr(config)
    assert load(tmp_path / "mirror").config.publish.port == 9010
    kept = load(write(tmp_path, text.replace("delete = True\n", "")), "mirror").config.chains["hrit"]
    assert not kept.delete  # theirs keeps the copies, unless told otherwise


YAML = """\
role: mirror
chains:
  hrit:
    providers: [hub:9010]
    topic: /1b
    destination: file:///data/mirror/
    request: 9094
    allow: [file:///out/**]
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("mirror/", "mirror", "is no folder"),
        ("file:///data/mirror/", "s3://bucket/", "is no place on this host"),
        ("    topic: /1b\n", "", "nothing says what to hear from hub:9010"),
        ("request: 9094", "request: 9010", "port 9010 is taken already"),
        ("allow:", "alow:", "did you mean `allow`"),
        ("    topic: /1b\n", "    topic: /1b\n    login: a:b\n    login_file: /x\n", "stands beside `login`"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert load(write(tmp_path, YAML)).config.chains["hrit"].remove_delay == timedelta(seconds=30)
    with pytest.raises(ConfigError, match=told):
        load(write(tmp_path, YAML.replace(old, new)))
