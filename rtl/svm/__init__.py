"""Hardware virtualization: the registers of guest mode and the decision to leave it."""
