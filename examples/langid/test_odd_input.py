"""Meet text that is in no language, under one marker for the whole module."""

from __future__ import annotations

import pytest
from py3langid.langid import LanguageIdentifier

from pytest_braintrust.scoring import BtScore

# Every test of this file gets a row, and every row this tag and this metadata.
pytestmark = pytest.mark.braintrust(
    tags=["odd input"], metadata={"kind": "odd input", "owner": "robustness"}
)

#: What py3langid answers for text that is in no language.
NO_LANGUAGE = "zxx"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("3.14159 2.71828 1.41421", id="numbers"),
        pytest.param("+49 30 1234567", id="telephone"),
        pytest.param("a1b2-c3d4-e5f6", id="serial-number"),
        pytest.param("2024-05-17T08:30:00Z", id="timestamp"),
        pytest.param("e4 e5 Nf3 Nc6 Bb5 a6", id="chess-moves"),
        pytest.param('{"id": 7, "ok": true}', id="json"),
        pytest.param("https://example.org/a/b?id=42", id="address"),
        pytest.param("def f(x): return x + 1", id="python"),
        pytest.param("😀🎉🚀", id="emoji"),
        pytest.param("", id="empty"),
    ],
)
def test_no_language(
    text: str, identifier: LanguageIdentifier, bt_score: BtScore
) -> None:
    answer, confidence = identifier.classify(text)
    bt_score(
        output=answer,
        expected=NO_LANGUAGE,
        scores={
            "exact": answer == NO_LANGUAGE,
            # A wrong answer is forgiven as far as it is given with doubt.
            "caution": 1 if answer == NO_LANGUAGE else 1 - confidence,
        },
        metrics={"characters": len(text)},
    )
    assert answer


# No word to `bt_score`: the marker alone makes the row, its only score is `pass`.
@pytest.mark.parametrize("text", ["Grüße aus Köln", "Ça va très bien", "Зимний сад"])
def test_bytes_are_read_as_text(text: str, identifier: LanguageIdentifier) -> None:
    assert identifier.classify(text.encode()) == identifier.classify(text)
