"""What users write: typed options, read from YAML or from the INI files of Trollmoves.

`load` gives a `ServerConfig` or `ClientConfig`, frozen, whose chains can be compared one by one; or it raises
`ConfigError`, which names everything that is wrong with file, line, key and next move. Each option is
declared once, in `server` or `client`; docs/configuration.md is generated from there (`reference`).
"""

from tranship.config.checks import Folders, on_disk, taken_on_trust
from tranship.config.client import ClientChain, ClientConfig
from tranship.config.endpoints import NameServers, Provider, Security, Socket
from tranship.config.findings import ConfigError, Finding
from tranship.config.load import ROLES, Config, Loaded, Overrides, default_journal, load
from tranship.config.mirror import MirrorChain, MirrorConfig
from tranship.config.server import Checksum, ServerChain, ServerConfig, Watch
from tranship.config.values import Parameters
from tranship.steps.settle import Closed, Companion, Completeness, Stable

__all__ = [
    "ROLES",
    "Checksum",
    "ClientChain",
    "ClientConfig",
    "Closed",
    "Companion",
    "Completeness",
    "Config",
    "ConfigError",
    "Finding",
    "Folders",
    "Loaded",
    "MirrorChain",
    "MirrorConfig",
    "NameServers",
    "Overrides",
    "Parameters",
    "Provider",
    "Security",
    "ServerChain",
    "ServerConfig",
    "Socket",
    "Stable",
    "Watch",
    "default_journal",
    "load",
    "on_disk",
    "taken_on_trust",
]
