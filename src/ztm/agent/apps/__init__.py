"""The apps of an endpoint: which there are, running them, and packages of them in the mesh."""
