"""The proxy app: an HTTP and SOCKS port on one endpoint whose connections leave the mesh at others."""
