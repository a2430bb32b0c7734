"""The network seam over the native data plane: bytes stay in `ztm_native`, and Python decides once per stream."""
