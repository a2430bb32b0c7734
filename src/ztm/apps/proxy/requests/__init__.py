"""The log of requests that pass an exit: seen in passing, and written to a file or told to a collector."""
