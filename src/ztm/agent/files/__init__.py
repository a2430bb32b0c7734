"""The mesh files that this agent holds, told to the hub, and fetched from others."""
