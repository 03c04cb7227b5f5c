"""Name the language of a sentence: one test, and one row, for each in the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from py3langid.langid import LanguageIdentifier

from pytest_braintrust.scoring import BtScore

LINES = Path(__file__).with_name("sentences.jsonl").read_text(encoding="utf-8")
SENTENCES = [json.loads(line) for line in LINES.splitlines()]

# The marker says what is known of a case before it runs; `text` becomes the row's
# input and `expected` its expected value, because the parameters are called so.
CASES = [
    pytest.param(
        sentence["text"],
        sentence["language"],
        id=sentence["id"],
        marks=pytest.mark.braintrust(
            tags=[sentence["kind"]], metadata={"kind": sentence["kind"]}
        ),
    )
    for sentence in SENTENCES
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_language(
    text: str, expected: str, identifier: LanguageIdentifier, bt_score: BtScore
) -> None:
    ranking: list[tuple[str, float]] = identifier.rank(text)
    answer, confidence = ranking[0]
    best_three = [language for language, _ in ranking[:3]]

    bt_score(
        output=answer,
        scores={
            "exact": answer == expected,
            "top3": expected in best_three,
            "confidence": confidence,
            "confidence_in_truth": dict(ranking).get(expected, 0),
        },
        metrics={"characters": len(text)},
    )

    # A score is not an assertion: a wrong language lowers `exact`, and the test
    # fails only where the identifier gave no answer at all.
    assert answer
