"""What apps that carry streams share: listening, asking an exit, dialling, carrying, datagrams, and the books of it."""
