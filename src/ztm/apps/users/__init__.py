"""The users of the mesh, and named groups of them."""
