"""HTTP for control: requests to handlers, errors to statuses, and the client of the same paths."""
