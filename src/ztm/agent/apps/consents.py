"""What is written down of an installed app: which version its owner consented to, and which one to go back to.

Pure: no file is touched here. A version from `ztm app run` is marked as one in development: it is replaced by whatever
comes next, never gone back to, and grants nothing to others. Source: spec app-framework 10.3 and 10.4.
"""

from collections.abc import Collection

import msgspec

from ztm.agent.apps.inspection import Inspected
from ztm.errors import ForbiddenError


class Version(msgspec.Struct, frozen=True, omit_defaults=True):
    """One version that was consented to."""

    digest: str
    version: str
    permissions: list[str]
    consented: str
    """When, ISO 8601."""
    development: bool = False
    """Whether its author only tries it."""


class Record(msgspec.Struct, frozen=True):
    """What is written down of one installed app."""

    present: Version
    previous: Version | None = None

    @property
    def lasting(self) -> Version | None:
        """The last version that was installed to stay."""
        return self.previous if self.present.development else self.present

    def followed_by(self, fresh: Version) -> "Record":
        """After `fresh` was installed; the same once more changes nothing of what came before it."""
        lasting = self.lasting
        if lasting is None or lasting.digest != fresh.digest:
            return Record(fresh, lasting)
        stays = msgspec.structs.replace(fresh, development=False)
        return Record(stays, None if self.present.development else self.previous)

    def rolled_back(self) -> "Record | None":
        """After going back to the version before; None if there is none."""
        if self.previous is None:
            return None
        return Record(self.previous, None if self.present.development else self.present)


def check_consent(found: Inspected, consent: Collection[str] | None, before: Record | None) -> None:
    """Return if the owner has granted all that a package asks for; without `consent`, to the version `before`.

    Raises:
        ForbiddenError: it asks for more.
    """
    lasting = before.lasting if before is not None else None
    granted = lasting.permissions if consent is None and lasting is not None else consent
    if granted is None:
        raise ForbiddenError(
            f"app {found.app} is only installed with its owner's consent: 'ztm app install' asks for it"
        )
    more = [permission for permission in found.manifest.permissions if permission not in granted]
    if more:
        raise ForbiddenError(
            f"app {found.app} {found.manifest.version} asks for more than was granted: {', '.join(more)}"
        )
