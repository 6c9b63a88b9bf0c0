"""The `gigogne` command."""

from __future__ import annotations

import sys
from typing import Any

import click

from vmm.cli.check import check
from vmm.cli.compare import compare
from vmm.cli.export import export
from vmm.cli.info import info
from vmm.cli.run import run
from vmm.cli.status import Status
from vmm.cli.trace import trace


class OneSentence(click.Group):
    """A group whose complaints are one line each on standard error."""

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


@click.group(cls=OneSentence, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gigogne", message="gigogne %(version)s")
def main() -> None:
    """Gigogne: a virtualization laboratory on a cycle-accurate IA-32 computer."""


for command in (run, check, compare, trace, export, info):
    main.add_command(command)

if __name__ == "__main__":
    main()
