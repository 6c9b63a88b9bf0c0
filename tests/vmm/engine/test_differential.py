"""The interpreter against Unicorn: random instructions, every form at least once."""

import random

import pytest

pytest.importorskip("unicorn")

from tests.vmm.engine.cases import POOL, WIDE, make_case  # noqa: E402
from tests.vmm.engine.differential import DEVIATIONS, Pair, campaign  # noqa: E402
from vmm.semantics.table import semantics  # noqa: E402


@pytest.mark.parametrize("small", [False, True])
def test_random_instructions(small: bool) -> None:
    differences = [str(difference) for difference in campaign(8_000, 2024, small=small) if difference is not None]
    assert not differences, "\n".join(differences[:10])


def test_pool_has_every_family() -> None:
    operations = {form.operation for form in POOL}
    assert len(POOL) > 300 and {"add", "rcl", "idiv", "movs", "enter", "cmpxchg8b", "daa", "bsf"} <= operations


def test_deviations_name_operations() -> None:
    for name in DEVIATIONS:
        assert semantics(name.rstrip("0123456789"))


def test_a_broken_model_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison that cannot fail would pass everything."""
    pair = Pair(1)
    form = next(form for form in POOL if form.key == "01")
    case = make_case(random.Random(7), form, WIDE.code)
    assert pair.run(case) is None
    original = pair._ours

    def wrong(case):  # type: ignore[no-untyped-def]
        outcome = original(case)
        outcome.eflags ^= 1
        return outcome

    monkeypatch.setattr(pair, "_ours", wrong)
    difference = pair.run(case)
    assert difference is not None and difference.what == "flags 0x1"
