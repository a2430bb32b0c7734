"""What all tests share: this directory on the import path, and how the properties are searched."""

import os

from hypothesis import settings

# No deadline: how long an example takes says more about the machine than about the code.
settings.register_profile("search", deadline=None)
# The same examples each time, so that what fails in CI fails for the reason of the change.
settings.register_profile("repeat", deadline=None, derandomize=True)
settings.load_profile("repeat" if os.environ.get("CI") else "search")
