"""Connecting members of components that have the same name."""

__all__ = ["same"]


def same(to, source, *names: str):
    """Statements that give members of `to` the values of the members of `source` with the same names."""
    return [getattr(to, name).eq(getattr(source, name)) for name in names]
