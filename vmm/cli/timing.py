"""Options of the timing model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vmm.cli.options import BadInput

if TYPE_CHECKING:
    from vmm.timing.machine import Timing

CHOICES = ("none", "model")

cache_option = click.option("--no-cache-model", is_flag=True,
                            help="Let every access of the timing model hit in caches and TLBs.")
costs_option = click.option("--costs", type=click.Path(path_type=Path), default=None, metavar="FILE",
                            help="Costs that 'gigogne calibrate' wrote, for the timing model.  [default: measured on "
                                 "the default configuration]")


def timing_of(choice: str, no_cache_model: bool, costs: Path | None) -> Timing | None:
    """What the options say; None for no model. BadInput for costs that cannot be had."""
    if choice == "none":
        return None
    from vmm.timing.costs import Costs, CostsError, default_costs
    from vmm.timing.machine import Timing

    try:
        return Timing(default_costs() if costs is None else Costs.load(costs), not no_cache_model)
    except CostsError as error:
        raise BadInput(str(error)) from None
