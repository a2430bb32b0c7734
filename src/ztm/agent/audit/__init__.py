"""The audit log: who used which app of this endpoint, written, kept within bounds, and searched."""
