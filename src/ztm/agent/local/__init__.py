"""The local port: who may come in, and the page that is served there."""
