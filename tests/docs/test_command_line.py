"""docs/command-line.md says of every command what --help says."""

import re

import click
from click.testing import CliRunner

from tests.test_imports import ROOT
from vmm.cli.main import COMMANDS as NAMES
from vmm.cli.main import main
from vmm.cli.status import Status

TEXT = (ROOT / "docs" / "command-line.md").read_text()
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
SHARED = next(text for title, text in SECTIONS.items() if title.startswith("What all commands"))
COMMANDS = {title.split()[1]: (title, text) for title, text in SECTIONS.items() if title.startswith("gigogne ")}


def command_of(name: str) -> click.Command:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    return command


def table(text: str) -> dict[frozenset[str], str]:
    """Names of each option, with the default shown."""
    rows = re.findall(r"^\| (`-[^|]*) \|([^|]*)\|", text, re.MULTILINE)
    return {frozenset(word for word in re.findall(r"-[\w-]+", names)): default.strip() for names, default in rows}


def default_of(option: click.Option) -> str:
    """As the page shows it."""
    default = option.default
    if option.secondary_opts:
        return "on" if default else "off"
    if option.multiple:
        return " ".join(default or ())
    return "" if option.is_flag or default in (None, "") or "Sentinel" in str(default) else str(default)


def test_every_command_has_its_section() -> None:
    assert set(COMMANDS) == set(NAMES)


def test_options_and_defaults_are_those_of_the_command() -> None:
    for name, (title, text) in COMMANDS.items():
        arguments = [parameter for parameter in command_of(name).params if isinstance(parameter, click.Argument)]
        described = table(text) | (table(SHARED) if arguments else {})
        options = {frozenset(option.opts + option.secondary_opts): default_of(option)
                   for option in command_of(name).params if isinstance(option, click.Option)}
        assert set(described) == set(options), name
        # "--from" starts where the trigger says, which click does not know.
        assert {key: value for key, value in described.items() if "--from" not in key} == {
            key: value for key, value in options.items() if "--from" not in key}, name
        shown = title.split()[2:]
        assert shown == ["IMAGE" if argument.required else "[IMAGE]" for argument in arguments], name


def test_choices_are_named() -> None:
    for name, (_title, text) in COMMANDS.items():
        for option in command_of(name).params:
            if isinstance(option.type, click.Choice):
                assert [choice for choice in option.type.choices if f"`{choice}`" not in text + SHARED] == [], name


def test_help_runs_and_names_every_option() -> None:
    for name in NAMES:
        command = command_of(name)
        result = CliRunner().invoke(main, [name, "--help"])
        assert result.exit_code == 0
        for option in command.params:
            if isinstance(option, click.Option):
                assert all(opt in result.output for opt in option.opts + option.secondary_opts)


def test_statuses_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| `([A-Z_]+)` \|", SECTIONS["Exit statuses"], re.MULTILINE)
    assert {name: int(number) for number, name in rows} == {status.name: status.value for status in Status}
