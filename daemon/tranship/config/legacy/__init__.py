"""The INI files of Trollmoves, as they are, turned into our options: a module per role.

What an option of theirs becomes stands in a table per role, from which its documentation is made too. An INI file
says nothing of who may come and ask for what, so it keeps its old reach: every interface, every destination.
"""

from typing import Literal

from tranship.config.findings import Place, Report
from tranship.config.ini_file import Section, read_ini

Kind = Literal["server", "client", "mirror", "move", "clean"]


def kind_of(sections: list[Section]) -> Kind | None:
    """Whose file this is, by its options; None if nothing tells."""
    keys = {key for section in sections for key in section.items}
    both = any({"providers", "request_port"} <= set(section.items) for section in sections)
    if both or "client_topic" in keys:
        return "mirror"
    if "destinations" in keys:
        return "move"
    if {"base_dir", "templates"} & keys:
        return "clean"
    if {"providers", "destination"} & keys:
        return "client"
    return "server" if {"origin", "listen", "request_port"} & keys else None


def read_sections(text: str, report: Report) -> list[Section]:
    """The sections of an INI file; what is broken goes into the report."""
    sections = read_ini(text, report)
    if not sections:
        report.error(Place(1), "has no section", "add one per chain: [name]")
    return sections
