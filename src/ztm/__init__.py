"""ztm: a zero-trust mesh in Python. See ARCHITECTURE.md for the rooms of this house."""

__version__ = "0.1.0"
