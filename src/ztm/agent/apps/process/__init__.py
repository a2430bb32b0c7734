"""Apps by others: each in a process of its own, confined, supervised, and reached over two socket pairs."""
