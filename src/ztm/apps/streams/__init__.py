"""What apps that carry streams have in common: listening, asking an exit, dialling, datagrams, and the books of it."""
