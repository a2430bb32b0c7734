"""How this machine, its agent and its meshes are doing: facts, findings, and what to do about them."""
