"""The manual: man pages and the reference in `docs/`, made from the same tables as the help.

`python -m ztm.cli.manual` writes them into a checkout, and with ``--check`` only says which are stale. Nothing of it
is loaded by the command line itself.
"""
