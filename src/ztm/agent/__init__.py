"""The agent: the process on a user's machine, which joins meshes and runs apps."""
