"""Statistics of exits."""

from rtl.isa.exitcodes import ExitCode
from vmm.monitor.report import ExitStatistics


def test_layout() -> None:
    exits = ExitStatistics()
    for code, cycles in ((ExitCode.IOIO, 100), (ExitCode.HLT, 300), (ExitCode.IOIO, 200)):
        exits.count(code, cycles)
    assert (exits.samples, exits.cycles, exits.by_reason()) == (3, 600, {"IOIO": 2, "HLT": 1})
    assert list(exits.cycles_by_reason().items()) == [("IOIO", 300), ("HLT", 300)]
    head, first, second, total = exits.table()
    assert head.split() == ["VM-EXIT", "Samples", "Samples%", "Time%", "Min", "Time", "Max", "Time", "Avg", "time"]
    assert first.split() == ["IOIO", "2", "66.67%", "50.00%", "100", "200", "150.0"]
    assert second.split() == ["HLT", "1", "33.33%", "50.00%", "300", "300", "300.0"]
    assert total == "Total Samples:3, Total transition cycles:600."
    assert exits.table(1000)[-1] == (
        "Total Samples:3, Total transition cycles:600, and 1,000 of the monitor's at each exit: 3,000.")
