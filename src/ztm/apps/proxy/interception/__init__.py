"""Opening the TLS of those who asked for it: certificates of the exit's own authority, and verified origins."""
