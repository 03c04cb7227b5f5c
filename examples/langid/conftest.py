"""Load the component under test: once a session, so once per pytest-xdist worker."""

from __future__ import annotations

import pytest
from py3langid.langid import MODEL_FILE, LanguageIdentifier


@pytest.fixture(scope="session")
def identifier() -> LanguageIdentifier:
    """The identifier, with probabilities from 0 to 1 for its answers."""
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
