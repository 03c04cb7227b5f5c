"""A dataset on Braintrust that tests make cases of."""

from __future__ import annotations

from typing import Any

from fake_braintrust import FakeBraintrust, Request

from pytest_braintrust.api import BraintrustClient

COUNTRIES = ["France", "Italy", "Spain", "Peru", "Chile", "Japan", "Kenya"]


def fill(
    client: BraintrustClient, project: str, name: str, countries: list[str]
) -> str:
    dataset = client.create_dataset(client.create_project(project).id, name)
    client.insert_dataset_rows(dataset.id, map(row, countries))
    return dataset.id


def row(country: str) -> dict[str, Any]:
    return {
        "id": f"id-{country}",
        "input": {"country": country},
        "expected": f"capital of {country}",
        "metadata": {"name": country.upper(), "length": len(country)},
        "tags": ["geo"],
    }


def downloads(server: FakeBraintrust) -> list[Request]:
    return [each for each in server.requests if each.path == "/btql"]
