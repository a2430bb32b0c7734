"""The version that this implementation tells others."""

from ztm import __version__
from ztm.model import Version

EDITION = "Python"
VERSION = Version(edition=EDITION, tag=f"v{__version__}")
