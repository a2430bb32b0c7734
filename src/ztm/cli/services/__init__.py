"""Hub and agent as services of this machine: what a unit says, and asking systemd or launchd to run it."""
