"""Options that say nothing beside others are refused, not ignored."""

from __future__ import annotations

import importlib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.sim import guests
from tests.vmm.cli.test_bad_input import fails
from vmm.cli import combinations
from vmm.cli.main import main

_MODEL = "is about the timing model; ask for it with '--timing model'"
_SAVED = "says nothing to a guest that has started already; leave it out with --load"
_RANDOM = "says nothing to random programs; leave it out with --random"
_GUESTS = "says nothing to random hosts; leave it out with --random-guests"
_ESTIMATED = "is about the timing model of '--technique emulate' or 'dbt'"
_CACHE = "--translation-cache is about '--technique dbt' without timing model, '--fast-forward-to' and '--sample'"
_NO_RTL = "--engine simulates RTL; with technique 'dbt' there is some only with '--devices rtl'"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "guest.elf"
    path.write_bytes(guests.elf(guests.leave(0)))
    return path


@pytest.mark.parametrize(("arguments", "sentence"), [
    ("run --sample-warmup 0", "--sample-warmup is about samples; ask for them with '--sample N/M'"),
    ("run --no-cache-model --technique emulate", f"--no-cache-model {_MODEL}"),
    ("run --costs x --technique emulate", f"--costs {_MODEL}"),
    ("run --timing model", "The RTL has cycles of its own; '--timing model' needs '--technique emulate' or 'dbt'"),
    ("run --devices software --sample 1k/1M",
     "The RTL processor has RTL devices; --devices software needs another --technique"),
    ("run --engine native --technique dbt", _NO_RTL),
    ("run --trace-exits x --technique dbt",
     "--trace-exits reads the RTL: it needs technique 'native' or 'svm', and no --sample"),
    ("run --exit-cost 5", "--exit-cost is about the monitor of '--technique svm'"),
    ("compare --exit-cost 5", "--exit-cost is about the monitor of '--technique svm'"),
    ("run --fast-forward-to 1k --technique dbt",
     "--fast-forward-to goes on on the RTL: it needs technique 'native' or 'svm', not 'dbt'"),
    ("run --sample 1k/1M --technique emulate",
     "--sample goes on on the RTL: it needs technique 'native', not 'emulate'"),
    ("run --translation-cache", _CACHE),
    ("run --translation-cache --technique dbt --timing model", _CACHE),
    ("run -append x --load y", f"-append {_SAVED}"),
    ("run -initrd x --load y", f"-initrd {_SAVED}"),
    ("trace --fast-forward-to 1k --technique dbt",
     "--fast-forward-to goes on on the RTL: it needs technique 'native', not 'dbt'"),
    ("trace --to 9 --cycles 9", "--cycles is the length of a window without end; give either --to or --cycles"),
    ("trace --before 9", "--before is about the cycles before a place; give it with '--at PLACE' or '--at-exit CODE'"),
    ("trace --at-exit NPF --technique dbt", "--at-exit needs a processor in RTL: technique 'native' or 'svm'"),
    ("compare --timing none --no-cache-model", f"--no-cache-model {_MODEL}"),
    ("compare --timing none --costs x", f"--costs {_MODEL}"),
    ("compare --technique svm --timing model", f"--timing {_ESTIMATED}"),
    ("compare --technique svm --no-cache-model", f"--no-cache-model {_ESTIMATED}"),
    ("compare --technique svm --costs x", f"--costs {_ESTIMATED}"),
    ("check --seed 4", "--seed is about random hosts; ask for them with '--random-guests N'"),
    ("check --count 3", "--count is about random programs; ask for them with '--random SEED'"),
])
def test_an_option_that_says_nothing(image: Path, arguments: str, sentence: str) -> None:
    """Once, `--sample-warmup` without `--sample` was run as if it had not been there."""
    command, *others = arguments.split()
    assert fails(command, str(image), *others) == sentence


@pytest.mark.parametrize(("option", "value"), [("-append", "x"), ("-initrd", "x"), ("-m", "16")])
def test_random_programs_take_no_guest_options(option: str, value: str) -> None:
    assert fails("check", "--random", "1", option, value) == f"{option} {_RANDOM}"
    assert fails("check", "--random-guests", "1", option, value) == f"{option} {_GUESTS}"


@pytest.mark.parametrize(("option", "value"), [("-append", "x"), ("-initrd", "x"), ("-m", "16")])
def test_the_walk_in_a_saved_state_takes_no_guest_options(option: str, value: str) -> None:
    assert fails("explain", "walk", "1000", "--load", "x", option, value) == f"{option} {_SAVED}"


def test_defaults_are_never_refused(image: Path) -> None:
    """Whoever leaves an option out has said nothing that could be ignored; neither has who says so."""
    arguments = ["run", str(image), "--technique", "emulate", "--no-translation-cache", "--timing", "none"]
    assert CliRunner().invoke(main, arguments).exit_code == 0


@pytest.mark.parametrize("name", ["run", "trace", "compare", "check", "walk"])
def test_every_rule_names_an_option(name: str) -> None:
    """A rule about an option that is called otherwise would never be broken."""
    command: click.Command = getattr(importlib.import_module(f"vmm.cli.{name}"), name)
    options = {parameter.name: parameter.opts for parameter in command.params}
    for rule in getattr(combinations, name.upper()):
        assert rule.option in options
