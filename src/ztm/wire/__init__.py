"""What is said on the network, pure: URLs, JSON and datagrams. No I/O, no decisions."""
