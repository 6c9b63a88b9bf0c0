"""Register port signature."""

import pytest
from amaranth.lib.wiring import In, Out

from rtl.bus.regport import RegisterPort


def test_members():
    assert dict(RegisterPort(3).members.items()) == {
        "addr": Out(3), "r_stb": Out(1), "r_data": In(8), "w_stb": Out(1), "w_data": Out(8)}


def test_equality_and_text():
    assert RegisterPort(3) == RegisterPort(3) != RegisterPort(4)
    assert repr(RegisterPort(16)) == "RegisterPort(16)"


@pytest.mark.parametrize("width", [-1, "3", None])
def test_bad_width(width):
    with pytest.raises(TypeError) as error:
        RegisterPort(width)
    assert str(error.value) == f"Address width must be a non-negative integer, not {width!r}"
