"""HTTP/2 sessions over any stream, on the `h2` library with the settings that v1 peers need."""
