"""How apps are named: ``provider/name[@tag]``, as paths, folders and people have it. Source: spec app-framework 1."""

from dataclasses import dataclass
from typing import Self

from ztm.core.access import check_path
from ztm.errors import UsageError
from ztm.model import check_name


@dataclass(frozen=True, slots=True, order=True)
class AppName:
    """Whose app, its name and its tag, which may be empty."""

    provider: str
    name: str
    tag: str = ""

    @classmethod
    def parse(cls, provider: str, app: str) -> Self:
        """Take ``name[@tag]`` apart.

        Raises:
            UsageError: one of the parts is no name.
        """
        name, at, tag = app.partition("@")
        check_name("user", provider)
        check_name("app", name)
        if at:
            check_name("tag", tag)
        if provider.startswith(".") or name.startswith("."):
            raise UsageError(f"not an app's name: {provider}/{app}")
        return cls(provider, name, tag)

    @property
    def app(self) -> str:
        """The name with its tag."""
        return f"{self.name}@{self.tag}" if self.tag else self.name

    @property
    def path(self) -> str:
        """Where its package is among the mesh files."""
        return check_path(f"/shared/{self.provider}/pkg/{self.app}")

    def __str__(self) -> str:
        return f"{self.provider}/{self.app}"
