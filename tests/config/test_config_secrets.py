"""Whatever is wrong with a file: no finding and no repr holds a piece of a secret."""

import re
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tranship.config import ConfigError, load, taken_on_trust

LETTERS = "QZJ"
SECRETS = st.lists(
    st.text(LETTERS, min_size=3, max_size=5) | st.sampled_from(list("%&*@/ #'\"!|>-:;=$^~()")),
    min_size=3,
    max_size=7,
).map(lambda parts: "QZJ" + "".join(parts) + "JQZ")

YAML_SERVER = """role: server
chains:
  a:
    origin: /in/{n}
    topic: /a
    request: 9092
    <>
    allow: s3://bucket/**
"""
YAML_CLIENT = """role: client
chains:
  a:
    providers: [b:1]
    topic: /a
    destination: /out/
    <>
    publish: 9020
"""
INI_SERVER = """[a]
origin = /in/{n}
topic = /a
request_port = 9092
<>
delete = no
"""
INI_CLIENT = """[a]
topic = /a
providers = b:1
<>
delete = no
"""
PLACES = [
    *(
        (YAML_CLIENT, line)
        for line in [
            "login: {}",
            'login: "{}"',
            "login: 'u:{}'",
            "login: [{}]",
            "login: {{a: {}}}",
            "login: *{}",
            "login: &{}",
            "login: !{}",
            "login: |\n      {}",
            "login: u\n    login: {}",
            "login: u:{}\n    login_file: /l",
            "pasword: {}",
            "backup_targets: u:{}@host",
            "backup_targets: [u:{}@host]",
            "nameservers: ['tcp://u:{}@host']",
            "replace: 'sftp://u:{}@host/'",
            "heartbeat: 'sftp://u:{}@host/'",
        ]
    ),
    *(
        (YAML_SERVER, line)
        for line in [
            "connection_parameters: {}",
            "connection_parameters: '{}'",
            "connection_parameters: [{}]",
            "connection_parameters: {{secret: '{}'}}",
            "connection_parameters: {{a: {{b: ['{}']}}}}",
            "connection_parameters: {{secret: ['{}']}}",
            "connection_parameters: {{key: '{}', client_kwargs: {{aws_access_key_id: '{}-'}}}}",
            "connection_parameters: {{client_kwargs: {{aws_secret_access_key: '{}'}}}}",
            "connection_parameters: {{config_kwargs: '{}'}}",
            "connection_parameters: {{config_kwargs: {{proxies: {{http: '{}'}}}}}}",
            "connection_parameters: {{endpoint_url: 'http://u:{}@host'}}",
            "connection_parameters: {{a: {}",
            "request_address: tcp://u:{}@host",
        ]
    ),
    (YAML_SERVER.replace("s3://bucket/**", "<>").replace("    <>\n", "", 1), "sftp://u:{}@host/**"),
    (YAML_SERVER.replace("s3://bucket/**", "<>").replace("    <>\n", "", 1), "['sftp://u:{}@host/**']"),
    (YAML_CLIENT.replace("/out/", "<>").replace("    <>\n", "", 1), "sftp://u:{}@host/out/"),
    (YAML_CLIENT.replace("[b:1]", "<>").replace("    <>\n", "", 1), "tcp://u:{}@host:1"),
    (YAML_CLIENT.replace("[b:1]", "<>").replace("    <>\n", "", 1), "['tcp://u:{}@host:1']"),
    *(
        (INI_CLIENT, line)
        for line in [
            "destination = /out/\nlogin = u:{}",
            "login = u\nlogin = u:{}",
            "login = u\n   {}",
            "destination = /out/\nbackup_targets = h\nproviders = tcp://u:{}@host:1",
            "destination = sftp://u:{}@host/out",
            "pasword = {}",
            "backup_targets = u:{}@host",
        ]
    ),
    *(
        (INI_SERVER, line)
        for line in [
            "connection_parameters__secret = {}",
            "connection_parameters__a = x\nconnection_parameters__a__b = {}",
            "ssh_key_filename = {}",
            "pasword = {}",
            "request_address = tcp://u:{}@host",
        ]
    ),
]


@settings(max_examples=600, deadline=None)
@given(place=st.sampled_from(PLACES), secret=SECRETS, cut=st.none() | st.integers(0, 200), tab=st.booleans())
def test_no_piece_of_a_secret_is_told(place, secret, cut, tab):
    text, line = place
    text = text.replace("<>", line.replace("{{", "{").replace("}}", "}").replace("{}", secret))[:cut]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c"
        path.write_text(text.replace("    ", "\t", 1) if tab else text)
        said = told(path).replace(folder, "")
    assert not re.search(f"[{LETTERS}]{{2}}", said), said


def told(path):
    try:
        loaded = load(path, folders=taken_on_trust)
    except ConfigError as error:
        return f"{error}\n{error!r}\n{error.findings!r}"
    return f"{loaded!r}\n{loaded}\n{[str(warning) for warning in loaded.warnings]}\n{loaded.config.model_dump_json()}"
