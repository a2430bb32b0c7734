"""What `ztm` and `python -m ztm` start."""

import sys


def main() -> None:
    """Run the command line of this process and exit with its status."""
    from ztm.cli.main import main as run

    sys.exit(run())


if __name__ == "__main__":
    main()
