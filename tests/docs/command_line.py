"""The reference of the command line, from the commands of `evergreen`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cli.commands import COMMANDS, load
from cli.exit_codes import __doc__ as exit_codes
from tests.docs.tables import Kept, code
from tests.docs.tables import table as markdown


def table(_kept: Kept) -> str:
    parts = []
    for entry in COMMANDS:
        for name, command in _with_subcommands(f"evergreen {entry.name}", load(entry)):
            parts.append(_section(name, command))
    codes = str(exit_codes).partition("\n\n")[2].rstrip()
    return "\n".join([*parts, "## Exit codes\n", f"```text\n{codes}\n```\n"])


def _with_subcommands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    subcommands = getattr(command, "commands", {})
    if not subcommands or command.invoke_without_command:
        yield name, command
    for own, subcommand in subcommands.items():
        yield from _with_subcommands(f"{name} {own}", subcommand)


def _section(name: str, command: Any) -> str:
    parameters = [p for p in command.params if "--help" not in p.opts]
    places = [_argument(p) for p in parameters if p.param_type_name == "argument"]
    usage = " ".join([name, *places])
    rows = [[_names(p), _default(p), str(p.help or "")] for p in parameters]
    text = f"### {name}\n\n```text\n{usage}\n```\n\n{command.help}\n"
    return f"{text}\n{markdown(['parameter', 'default', 'meaning'], rows)}" if rows else text


def _argument(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return " or ".join(map(code, _argument(parameter).split("|")))
    return ", ".join(map(code, parameter.opts))


def _default(parameter: Any) -> str:
    default = parameter.default
    if parameter.required:
        return "required"
    return "" if default in (None, False, (), "") else code(default)
