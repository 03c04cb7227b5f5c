"""Tell whether a test is still written as it was, by a hash of its source."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from typing import Any


@lru_cache(maxsize=4096)
def source_hash(function: Callable[..., Any]) -> str | None:
    """A short name for the source of a function; None where there is none to read.

    Looked up once for all the cases of a parametrized test.
    """
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):
        return None
    digest = blake2b(source.encode("utf-8", "surrogatepass"), digest_size=8)
    return digest.hexdigest()
