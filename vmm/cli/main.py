"""The `gigogne` command."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from vmm.cli.status import Status

#: What each command does, in the words of its own help. The command is `vmm.cli.NAME.NAME`.
COMMANDS = {
    "run": "Boot IMAGE, a Multiboot or PVH ELF file.",
    "check": "Run IMAGE on the RTL and on the golden model, and compare them after every instruction.",
    "calibrate": "Measure what instructions and events cost on the RTL, for the timing model.",
    "compare": "Run IMAGE on the RTL processor and under other techniques, and put the figures side by side.",
    "trace": "Run IMAGE and write what its signals do in a window of cycles, as VCD with a GTKWave savefile.",
    "explain": "Run IMAGE by the translator and show what it made of the code at a place.",
    "export": "Write the computer as one Verilog file with the module `top`.",
    "info": "Show the platform map, the configuration and the tools found.",
}


class LazyGroup(click.Group):
    """A group that imports a command only when it is called, and whose complaints are one line on standard error."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"vmm.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        limit = formatter.width - 6 - max(map(len, COMMANDS))
        with formatter.section("Commands"):
            formatter.write_dl([(name, click.Command(name, help=COMMANDS[name]).get_short_help_str(limit))
                                for name in self.list_commands(ctx)])

    def main(self, *args: Any, **extra: Any) -> Any:
        if not extra.get("standalone_mode", True):
            return super().main(*args, **extra)
        try:
            status = super().main(*args, **extra | {"standalone_mode": False})
        except click.Abort:
            sys.exit(Status.INTERRUPTED)
        except click.UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                error.show()
            else:
                click.echo(f"gigogne: {' '.join(error.format_message().split())}", err=True)
            sys.exit(Status.BAD_INPUT)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        sys.exit(status if isinstance(status, int) else Status.OK)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gigogne", message="gigogne %(version)s")
def main() -> None:
    """Gigogne: a virtualization laboratory on a cycle-accurate IA-32 computer."""


if __name__ == "__main__":
    main()
