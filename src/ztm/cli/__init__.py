"""The command line: a client of the local agent that starts fast. It holds no state but `~/.ztm.conf`."""
