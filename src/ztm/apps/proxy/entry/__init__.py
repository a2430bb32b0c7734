"""The proxy's listening side: what clients speak, and the answers that they understand."""
