"""Decisions, pure: state, event and the time in; new state and what to do out. No I/O, no clock."""
