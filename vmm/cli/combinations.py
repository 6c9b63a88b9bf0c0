"""Options that say nothing beside others, as tables: a command refuses them rather than ignore them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
from click.core import ParameterSource

from vmm.cli.options import BadInput

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Rule:
    """An option, by the name of its parameter, when it says something, and the sentence for when it does not.

    The sentence may name other options in braces: their values stand there then.
    """

    option: str
    speaks: Callable[[Options], bool]
    sentence: str


def refuse_mute(rules: Sequence[Rule]) -> None:
    """BadInput for the first option on the command line of this command that says nothing beside the others."""
    context = click.get_current_context()
    for rule in rules:
        given = context.get_parameter_source(rule.option) is ParameterSource.COMMANDLINE
        if given and not rule.speaks(context.params):
            raise BadInput(rule.sentence.format(**context.params))


def _emulated(options: Options) -> bool:
    return options["technique"] in ("emulate", "dbt")


def _native(options: Options) -> bool:
    return bool(options["technique"] == "native")


def _monitored(options: Options) -> bool:
    return bool(options["technique"] == "svm")


def _not_monitored(options: Options) -> bool:
    return not _monitored(options)


def _switched(options: Options) -> bool:
    return options["fast_forward"] is not None or options["sample"] is not None


def _translated(options: Options) -> bool:
    return _switched(options) or options["technique"] == "dbt" and options["timing"] == "none"


def _estimated(options: Options) -> bool:
    return options["timing"] == "none" or any(name in ("emulate", "dbt") for name in options["techniques"])


def _from_reset(options: Options) -> bool:
    return options["load_path"] is None


_MODEL = "is about the timing model; ask for it with '--timing model'"
_ON_RTL = "goes on on the RTL: it needs technique 'native', not '{technique}'"
_SAVED = "says nothing to a guest that has started already; leave it out with --load"
_RANDOM = "says nothing to random programs; leave it out with --random"
_GUESTS = "says nothing to random hosts; leave it out with --random-guests"
_ESTIMATED = "is about the timing model of '--technique emulate' or 'dbt'"
_OF_GUEST = (("append", "-append"), ("initrd", "-initrd"), ("memory", "-m"))

COSTS = (
    Rule("no_cache_model", lambda options: options["timing"] == "model", f"--no-cache-model {_MODEL}"),
    Rule("costs", lambda options: options["timing"] == "model", f"--costs {_MODEL}"),
)
_FAST_FORWARD = Rule("fast_forward", _native, f"--fast-forward-to {_ON_RTL}")
RUN = (
    *COSTS,
    Rule("timing", lambda options: _emulated(options) or options["timing"] == "none",
         "The RTL has cycles of its own; '--timing model' needs '--technique emulate' or 'dbt'"),
    Rule("devices", lambda options: not _native(options) or options["devices"] == "rtl",
         "The RTL processor has RTL devices; --devices software needs another --technique"),
    Rule("devices", lambda options: _not_monitored(options) or options["devices"] == "software",
         "A guest under '--technique svm' has devices of software, not '--devices {devices}'"),
    Rule("engine", lambda options: not _emulated(options) or options["devices"] == "rtl",
         "--engine simulates RTL; with technique '{technique}' there is some only with '--devices rtl'"),
    Rule("fast_forward", lambda options: not _emulated(options),
         "--fast-forward-to goes on on the RTL: it needs technique 'native' or 'svm', not '{technique}'"),
    Rule("sample", _native, f"--sample {_ON_RTL}"),
    Rule("trace_exits", lambda options: not _emulated(options) and options["sample"] is None,
         "--trace-exits reads the RTL: it needs technique 'native' or 'svm', and no --sample"),
    Rule("exit_cost", _monitored, "--exit-cost is about the monitor of '--technique svm'"),
    Rule("sample_warmup", lambda options: options["sample"] is not None,
         "--sample-warmup is about samples; ask for them with '--sample N/M'"),
    Rule("translation_cache", lambda options: not options["translation_cache"] or _translated(options),
         "--translation-cache is about '--technique dbt' without timing model, '--fast-forward-to' and '--sample'"),
    Rule("append", _from_reset, f"-append {_SAVED}"),
    Rule("initrd", _from_reset, f"-initrd {_SAVED}"),
)
TRACE = (
    _FAST_FORWARD,
    Rule("cycles", lambda options: options["last"] is None,
         "--cycles is the length of a window without end; give either --to or --cycles"),
    Rule("before", lambda options: options["trigger"] is not None or options["left_for"] is not None,
         "--before is about the cycles before a place; give it with '--at PLACE' or '--at-exit CODE'"),
    Rule("left_for", lambda options: not _emulated(options),
         "--at-exit needs a processor in RTL: technique 'native' or 'svm'"),
)
COMPARE = (
    *COSTS,
    *(Rule(name, _estimated, f"{option} {_ESTIMATED}") for name, option in (
        ("timing", "--timing"), ("no_cache_model", "--no-cache-model"), ("costs", "--costs"))),
    Rule("exit_cost", lambda options: "svm" in options["techniques"],
         "--exit-cost is about the monitor of '--technique svm'"),
)
CHECK = (
    Rule("count", lambda options: options["seed"] is not None,
         "--count is about random programs; ask for them with '--random SEED'"),
    Rule("guests_seed", lambda options: options["entries"] is not None,
         "--seed is about random hosts; ask for them with '--random-guests N'"),
    *(Rule(name, lambda options: options["seed"] is None, f"{option} {_RANDOM}") for name, option in _OF_GUEST),
    *(Rule(name, lambda options: options["entries"] is None, f"{option} {_GUESTS}") for name, option in _OF_GUEST),
)
WALK = tuple(Rule(name, lambda options: options["saved"] is None, f"{option} {_SAVED}") for name, option in _OF_GUEST)
