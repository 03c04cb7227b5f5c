"""Braintrust's REST API, usable by itself.

    from pytest_braintrust.api import BraintrustClient

    with BraintrustClient() as client:
        project = client.create_project("capitals")

Errors are those of `pytest_braintrust.errors`, `ApiError` above all.
"""

from __future__ import annotations

from pytest_braintrust.api.btql import Line
from pytest_braintrust.api.client import BraintrustClient
from pytest_braintrust.api.http import Timeouts
from pytest_braintrust.api.models import (
    Acl,
    Dataset,
    Experiment,
    Me,
    Organization,
    Project,
    Role,
    User,
)
from pytest_braintrust.api.retry import ONCE, PATIENT, RetryPolicy
from pytest_braintrust.api.rows import DatasetRow, Event, Measure, Summary

__all__ = [
    "ONCE",
    "PATIENT",
    "Acl",
    "BraintrustClient",
    "Dataset",
    "DatasetRow",
    "Event",
    "Experiment",
    "Line",
    "Me",
    "Measure",
    "Organization",
    "Project",
    "RetryPolicy",
    "Role",
    "Summary",
    "Timeouts",
    "User",
]
