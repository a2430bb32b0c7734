"""What a mesh is for: the apps, and what they share."""
