"""Tests of an app without mesh, agent or process: the app on two endpoints that reach each other in memory.

    async with two_endpoints(app) as (a, b):
        reply = await a.get(f"/api/hello/{b.id}")

Permissions are checked as an agent checks them; what else a process is kept from is not shown here.
"""

from ztm_app.testing.endpoint import Ran, TestEndpoint, two_endpoints

__all__ = ["Ran", "TestEndpoint", "two_endpoints"]
