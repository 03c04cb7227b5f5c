"""Every error of ours, in one tree.

PluginError
├── SettingsError       an option, variable or ini value that cannot be used
├── StoreError          the local store cannot be opened, read or written
│   ├── StoreBusy       another process was writing it all the time
│   ├── StoreRemoved    its file was removed while it was open
│   ├── StoreCorrupt    its file is damaged, or no SQLite file
│   └── StoreTooNew     it was written by a later version of this plugin
├── NamingError         what an experiment was called by is unknown or ambiguous
├── ExchangeError       a file of exported rows that cannot be written or read
├── BaselineError       the run to compare with does not exist
│   └── BaselineUnusable  it exists, and cannot be compared with
├── DatasetError        a dataset, or a row of one, that no test can be made of
├── ChildError          a process of ours could not be started or did not answer
└── ApiError            a call to Braintrust did not do what was asked
    ├── Unreachable     no answer: network, DNS, TLS, timeout
    ├── Overloaded      an answer that says "later": 408, 429, 5xx
    ├── Refused         401 or 403: the key is wrong or may not do this
    ├── Rejected        any other 4xx: the request itself is wrong
    │   └── TooLarge    413: the request has too many bytes
    └── BadAnswer       an answer that is not Braintrust's: HTML, cut off, wrong types

A wrong value at a `bt_score` call is a plain `ValueError`, raised in the test.
"""

from __future__ import annotations

import math


class PluginError(Exception):
    """Root of the tree; its text is a message for people, without secrets."""


class SettingsError(PluginError):
    """A value given by option, environment or ini that cannot be used."""


class StoreError(PluginError):
    """The local store cannot be opened, read or written."""


class StoreBusy(StoreError):
    """Another process was writing the local store for as long as we waited."""


class StoreRemoved(StoreError):
    """The file of the local store was removed while it was open."""


class StoreCorrupt(StoreError):
    """The file of the local store is damaged, or is no SQLite file."""


class StoreTooNew(StoreError):
    """The local store was written by a later version of this plugin."""


class NamingError(PluginError):
    """What an experiment was called by names none, or more than one."""


class ExchangeError(PluginError):
    """A file of exported rows cannot be written, or is none."""


class BaselineError(PluginError):
    """The run to compare with does not exist."""


class BaselineUnusable(BaselineError):
    """The run to compare with exists, and cannot be compared with."""


class DatasetError(PluginError):
    """A dataset, or a row of one, that no test can be made of."""


class ChildError(PluginError):
    """A child process of ours could not be started, or ended without its answer."""


class ApiError(PluginError):
    """A call to Braintrust did not do what was asked."""

    retryable = False

    def __init__(self, message: str = "", *, status: int | None = None) -> None:
        super().__init__(message)
        #: HTTP's status, where the server answered with one.
        self.status = status


class Unreachable(ApiError):
    """There was no answer: network, DNS, TLS or timeout."""

    retryable = True
    #: Whether there was not even a connection to ask by.
    nobody_there = False
    #: When the last byte of the server came, by the monotonic clock.
    heard = -math.inf


class Overloaded(ApiError):
    """The server answered that it cannot do it now (408, 429, 5xx)."""

    retryable = True

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status=status)
        self.retry_after = retry_after


class Refused(ApiError):
    """The server does not accept the key, or the key may not do this (401, 403)."""


class Rejected(ApiError):
    """The server does not accept the request itself (other 4xx)."""

    @property
    def for_content(self) -> bool:
        """Whether it is for what the request carries, and not for where it went."""
        return self.status in {400, 413, 422}


class TooLarge(Rejected):
    """The request has more bytes than the server takes (413)."""


class BadAnswer(ApiError):
    """The answer is not one that Braintrust gives: HTML, cut off, wrong types."""
