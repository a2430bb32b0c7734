"""The version that this implementation tells others."""

from ztm import __version__
from ztm.build import built
from ztm.model import Version

EDITION = "Python"
_BUILD = built()
VERSION = Version(edition=EDITION, tag=f"v{__version__}", commit=_BUILD.commit, date=_BUILD.date)
