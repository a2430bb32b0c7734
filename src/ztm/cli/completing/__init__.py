"""What words may come next on a command line: from the table of commands, and from the agent."""
