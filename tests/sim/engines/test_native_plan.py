"""What the native engine's planner makes of conditions: chains of them, and tests of words needed under several."""

from sim.engines.native.chains import unfold_reductions
from sim.engines.native.divide import divide, steps_of
from sim.engines.native.gates import WORTH
from sim.engines.native.layout import lay_out
from sim.engines.native.netlist import Chunk, Netlist, Register, Sig, const
from sim.engines.native.program import Do, If, Literal, Program
from sim.engines.native.schedule import plan
from sim.engines.native.sinks import Sinks

_SINKS = Sinks((), None, None)


def _register(net: Netlist, width: int) -> tuple[Register, Sig]:
    sig = net.add("reg", width, ref=len(net.registers))
    net.registers.append(Register(sig[0].node, width, 0, sig, None))
    return net.registers[-1], sig


def _expensive(net: Netlist, sig: Sig) -> int:
    """A word that costs more than a test; its node."""
    for _ in range(WORTH):
        sig = net.add("add", 32, (sig, const(3, 32)))
    return sig[0].node


def _tests_over(program: Program, node: int) -> list[int]:
    """Nodes of the tests that the step computing ``node`` is under."""
    for block in program.functions:
        stack = [(step, ()) for step in block]
        while stack:
            step, tests = stack.pop()
            if isinstance(step, If):
                stack += [(inner, (*tests, step.test.node)) for inner in step.body]
            elif step == Do("node", node):
                return list(tests)
    raise AssertionError("the word is not computed")


def _two_readers(net: Netlist, *, conditional: bool) -> tuple[int, list[Sig]]:
    """Two registers that each take the expensive word, or its sum, under a condition; the word, the conditions."""
    _, source = _register(net, 32)
    word = _expensive(net, source)
    conditions = [_register(net, 1)[1] for _ in range(2)]
    for number, condition in enumerate(conditions):
        register, _ = _register(net, 32)
        register.d = net.add("add", 32, ((Chunk(word, 0, 32),), const(number, 32)))
        if conditional or number == 0:
            register.en = condition
    return word, conditions


def test_a_word_needed_under_two_conditions_is_computed_under_either():
    net = Netlist()
    word, conditions = _two_readers(net, conditional=True)
    (test,) = _tests_over(plan(net, _SINKS), word)
    assert net.nodes[test].op == "or"
    assert sorted(sig[0].node for sig in net.nodes[test].ins) == sorted(sig[0].node for sig in conditions)


def test_a_word_that_one_reader_always_needs_is_always_computed():
    net = Netlist()
    word, _ = _two_readers(net, conditional=False)
    assert _tests_over(plan(net, _SINKS), word) == []


def test_a_condition_made_of_the_word_itself_does_not_guard_it():
    net = Netlist()
    _, source = _register(net, 32)
    word = _expensive(net, source)
    sig: Sig = (Chunk(word, 0, 32),)
    for bit in range(2):
        register, _ = _register(net, 32)
        register.d, register.en = sig, net.add("eq", 1, (sig, const(bit, 32)))
    program = plan(net, _SINKS)
    assert _tests_over(program, word) == []
    assert sum(1 for block in program.functions for step in steps_of(block)
               if isinstance(step, Do) and step.what == "register") == 3


def test_conditions_become_a_chain_with_the_most_used_first():
    net = Netlist()
    shared, rare, other = (_register(net, 1)[1] for _ in range(3))
    for _ in range(3):
        net.add("not", 1, (shared,))
    whole = net.add("reduce_and", 1, ((*rare, *shared, *other),))
    wide = net.add("reduce_and", 1, (_register(net, 8)[1],))
    unfold_reductions(net)
    top = net.nodes[whole[0].node]
    assert (top.op, top.ins[0]) == ("and", shared)
    rest = net.nodes[top.ins[1][0].node]
    assert (rest.op, set(rest.ins)) == ("and", {rare, other})
    assert net.nodes[wide[0].node].op == "reduce_and"


def test_only_words_that_some_cycles_skip_are_cleared_between_cycles():
    net = Netlist()
    (_, source), (_, test) = _register(net, 32), _register(net, 1)
    always, sometimes = (net.add("add", 32, (source, const(number, 32))) for number in (1, 2))
    readers = [_register(net, 32)[0] for _ in range(2)]
    for reader, word in zip(readers, (always, sometimes), strict=True):
        reader.d = word
    block = [Do("node", always[0].node), If(Literal(test[0].node, 0, 1), [Do("node", sometimes[0].node)]),
             Do("register", 2), Do("register", 3)]
    program = divide(net, _SINKS, block, 1)
    assert program.crossing == [always[0].node, sometimes[0].node] and program.skipped == {sometimes[0].node}
    layout = lay_out(net, 0, program.crossing, program.skipped)
    assert layout.sources <= layout.nodes[sometimes[0].node] < layout.skipped <= layout.nodes[always[0].node]
