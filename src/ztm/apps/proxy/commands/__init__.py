"""What the commands of `ztm proxy` do; the table of them is in `cli`."""
