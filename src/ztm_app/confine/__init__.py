"""What the process of an app takes from itself before it imports the app: files, network, programs, memory."""
