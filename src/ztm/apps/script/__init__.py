"""Python scripts, run on an endpoint for those who may."""
