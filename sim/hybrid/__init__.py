"""The devices of the computer as hardware, for a processor that is software."""
