"""The terminal app: a shell or a program on an endpoint, for the users that its owner names."""
