"""Create a project and an experiment, insert rows, read them back, and summarize.

Run it with a key of yours; it asks for nothing else:

    BRAINTRUST_API_KEY=sk-… python examples/walkthrough/experiment.py

`BRAINTRUST_API_URL` names another region's server, or your own.
"""

# ruff: noqa: T201 - what it prints is what it is for

from __future__ import annotations

import argparse

from pytest_braintrust.api import BraintrustClient

CAPITALS = {"France": "Paris", "Japan": "Tokyo", "Australia": "Canberra"}


def answer(country: str) -> str:
    """Stand in for a model, one that errs where people err."""
    return "Sydney" if country == "Australia" else CAPITALS[country]


def row(country: str, capital: str) -> dict[str, object]:
    """One case of the experiment: what went in, what came out, and how good it is."""
    output = answer(country)
    return {
        # An id of our own: to insert it again is to replace it.
        "id": f"capital-of-{country.lower()}",
        "input": {"country": country},
        "output": output,
        "expected": capital,
        "scores": {"exact": float(output == capital)},
        "metadata": {"model": "stand-in"},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--project", default="walkthrough", help="The project's name")
    options = parser.parse_args()
    with BraintrustClient() as client:
        project = client.create_project(options.project)
        # A new one each time; without `ensure_new`, the one that has the name.
        experiment = client.create_experiment(project.id, "capitals", ensure_new=True)
        rows = [row(country, capital) for country, capital in CAPITALS.items()]
        ids = client.insert_rows(experiment.id, rows)
        print(f"{experiment.name}: {len(ids)} rows inserted")

        for event in client.fetch_experiment(experiment.id):
            print(f"  {event.input['country']}: {event.output} {dict(event.scores)}")

        summary = client.summarize_experiment(experiment.id)
        for score in summary.scores.values():
            change = "" if score.diff is None else f" ({score.diff:+.0%})"
            print(f"{score.name}: {score.value:.0%}{change}")
        print(summary.experiment_url)


if __name__ == "__main__":
    main()
