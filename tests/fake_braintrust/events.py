"""The calls on the rows of an experiment or dataset."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fake_braintrust import contract
from fake_braintrust.call import Call, capped, version
from fake_braintrust.contract import Problem, expect, listing, record
from fake_braintrust.rows import Query
from fake_braintrust.state import ROWS, Object
from fake_braintrust.summary import summarized


def insert(call: Call, object_id: str, *, kind: str) -> Any:
    thing = call.find(kind, object_id)
    check = listing(record(ROWS[kind]))
    events = call.checked({"events": check}, "events")["events"]
    for event in events:
        if call.knobs.poison and call.knobs.poison(event):
            raise Problem(400, f"row {event.get('id')} is poison")
    return {"row_ids": call.state.insert(thing["id"], events)}


_FETCH = {
    "limit": contract.nullable(contract.integer),
    "cursor": contract.nullable(contract.text),
    "version": contract.nullable(contract.text),
    "max_xact_id": contract.unsupported,
    "max_root_span_id": contract.unsupported,
}


def fetch(call: Call, object_id: str, *, kind: str) -> Any:
    thing = call.find(kind, object_id)
    if call.request.method == "GET":
        asked = {name: call.request.param(name) for name in _FETCH}
    else:
        asked = call.checked(_FETCH)
    query = Query(
        by="root_span_id",
        limit=capped(call, asked.get("limit")),
        cursor=asked.get("cursor"),
        version=version(asked.get("version")),
        history=True,
        repeat=call.knobs.repeat_older_rows,
    )
    page = call.state.logs[thing["id"]].page(query)
    return {"events": page.rows, **({"cursor": page.cursor} if page.cursor else {})}


def summarize(call: Call, object_id: str) -> Any:
    experiment = call.find("experiment", object_id)
    asked = call.request.param("summarize_scores") or "false"
    expect(asked in {"true", "false"}, "summarize_scores", "expected a boolean")
    answer = _addresses(call, experiment)
    if asked == "false":
        return answer
    base = _base(call, experiment)
    rows = [
        [row for _, row in call.state.logs[each["id"]].current().values()]
        for each in (experiment, base)
        if each
    ]
    name = base["name"] if base else None
    scores = summarized(*rows)
    return {**answer, "comparison_experiment_name": name, "scores": scores}


def summarize_dataset(call: Call, object_id: str) -> Any:
    dataset = call.find("dataset", object_id)
    asked = call.request.param("summarize_data") or "false"
    expect(asked in {"true", "false"}, "summarize_data", "expected a boolean")
    project = call.state.project_of(dataset)
    page = f"{call.state.app_url}/app/p/{quote(project['name'], safe='')}"
    answer = {
        "project_name": project["name"],
        "dataset_name": dataset["name"],
        "project_url": page,
        "dataset_url": f"{page}/datasets/{quote(dataset['name'], safe='')}",
    }
    if asked == "true":
        count = len(call.state.logs[dataset["id"]].current())
        answer["data_summary"] = {"total_records": count}
    return answer


def _addresses(call: Call, experiment: Object) -> Object:
    project = call.state.project_of(experiment)
    org = call.state.get("organization", project["org_id"]) or {}
    parts = [quote(each["name"], safe="") for each in (org, project, experiment)]
    page = f"{call.state.app_url}/app/{parts[0]}/p/{parts[1]}"
    return {
        "project_name": project["name"],
        "experiment_name": experiment["name"],
        "project_url": page,
        "experiment_url": f"{page}/experiments/{parts[2]}",
    }


def _base(call: Call, experiment: Object) -> Object | None:
    """As the API has it: the one asked for, the base, or the newest of the others."""
    asked = call.request.param("comparison_experiment_id")
    if asked or experiment["base_exp_id"]:
        return call.find("experiment", asked or str(experiment["base_exp_id"]))
    others = (
        each
        for each in reversed(call.state.all("experiment"))
        if each["project_id"] == experiment["project_id"] and each is not experiment
    )
    return next(others, None)
