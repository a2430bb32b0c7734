"""The network seam and what fills it."""
