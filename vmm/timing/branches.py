"""The branch predictor, and what its mistakes cost.

The methods are in the typed subset that the translator compiles: integers, and the record.
"""

from __future__ import annotations

from .record import TimingState

__all__ = ["Branches"]


class Branches:
    """Twin of `rtl.cpu.predictor`: two-bit counters against a static rule, return addresses, indirect targets.

    Each method takes what the branch really does, adds its cost to ``cycles`` and trains the tables. ``bubble`` is
    `RunCost.taken` of the run that the branch ends.
    """

    state: TimingState

    def conditional(self, eip: int, backward: int, taken: int, bubble: int) -> None:
        """A conditional branch at ``eip``; ``backward`` says whether its displacement is negative."""
        state = self.state
        index = eip >> 1 & state.counter_mask
        counter = state.counters[index]
        if taken ^ backward:
            if counter < 3:
                state.counters[index] = counter + 1
        elif counter > 0:
            state.counters[index] = counter - 1
        if (counter >> 1) ^ backward != taken:
            self.refetch()
        elif taken:
            state.cycles += bubble

    def refetch(self) -> None:
        """The code that follows is not what was fetched."""
        state = self.state
        state.cycles += state.mispredicted
        state.mispredictions += 1

    def call(self, next_eip: int) -> None:
        """A near call leaves a return address, besides being a jump."""
        state = self.state
        state.top = state.top + 1 & state.return_mask
        state.returns[state.top] = next_eip

    def jump_back(self, target: int, bubble: int) -> None:
        """A near return."""
        state = self.state
        guess = state.returns[state.top]
        state.top = state.top - 1 & state.return_mask
        if guess == target:
            state.cycles += bubble
        else:
            self.refetch()

    def indirect(self, eip: int, target: int, bubble: int) -> None:
        """An indirect jump or call at ``eip``."""
        state = self.state
        index = eip >> 1 & state.target_mask
        if state.targets[index] == target:
            state.cycles += bubble
        else:
            state.targets[index] = target
            self.refetch()
