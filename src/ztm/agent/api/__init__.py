"""The local API: every URL of it, and who answers."""
