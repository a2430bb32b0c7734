"""Live events: the bus, and what puts events on it."""
