"""The `gigogne` command."""

from __future__ import annotations

import click

from vmm.cli.check import check
from vmm.cli.compare import compare
from vmm.cli.export import export
from vmm.cli.info import info
from vmm.cli.run import run
from vmm.cli.trace import trace


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gigogne", message="gigogne %(version)s")
def main() -> None:
    """Gigogne: a virtualization laboratory on a cycle-accurate IA-32 computer."""


for command in (run, check, compare, trace, export, info):
    main.add_command(command)

if __name__ == "__main__":
    main()
