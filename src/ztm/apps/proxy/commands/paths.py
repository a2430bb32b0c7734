"""Where the app's API has what a command is about."""

from ztm.apps.command import AppCommand


def app_path(context: AppCommand, what: str) -> str:
    """The path of `what` at the endpoint that the command is for."""
    return f"/api/endpoints/{context.endpoint.id}/{what}"
