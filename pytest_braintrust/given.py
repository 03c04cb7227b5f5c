"""Where a setting may be given: an option, a variable, the ini file, in that order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pytest_braintrust.errors import SettingsError
from pytest_braintrust.jsonable import plain_text

#: Reads one option, or one ini value, by its name; None or "" where not set.
Reader = Callable[[str], Any]

#: Variables that say more than the option does.
_VARIABLES = {"impersonate": "BRAINTRUST_IMPERSONATE_USER"}

_SWITCH_WORDS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


class Given:
    """Reads settings by their short names, such as `api_url`.

    Args:
        option: Reads options, by `braintrust_` and the name.
        ini: Reads ini values, by the same.
        environ: Has variables, by `BRAINTRUST_` and the name in capitals.
        dashes: What stands before the name of an option on the command line.
    """

    def __init__(
        self,
        option: Reader,
        ini: Reader,
        environ: Mapping[str, str],
        dashes: str = "--braintrust-",
    ) -> None:
        self._option = option
        self._ini = ini
        self._environ = environ
        self._dashes = dashes

    def text(self, name: str, *, from_ini: bool = True) -> str | None:
        """The stripped value, or None where it is set nowhere.

        A variable or ini value of nothing but white space counts as not set: that is
        how a CI file takes one away.

        Raises:
            SettingsError: an option was given without a value.
        """
        given = self.option(name)
        if given is not None and not given.strip():
            msg = f"{self.option_name(name)} was given an empty value"
            raise SettingsError(msg)
        value = given or self._variable(name) or (from_ini and self.ini(name))
        return plain_text(value.strip()) or None if value else None

    def switch(self, name: str) -> bool:
        """Whether it is switched on.

        Raises:
            SettingsError: the variable is no word for yes or no.
        """
        if self.option(name):
            return True
        text = self._variable(name)
        if not text:
            return bool(self.ini(name))
        if text.lower() not in _SWITCH_WORDS:
            msg = f"{_variable_name(name)}: {text!r} is neither 1 nor 0"
            raise SettingsError(msg)
        return _SWITCH_WORDS[text.lower()]

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment, for what is in variables of others."""
        return self._environ

    def option(self, name: str) -> Any:
        """What the command line says, as it was given."""
        return self._option(f"braintrust_{name}")

    def ini(self, name: str) -> Any:
        """What the ini file says."""
        return self._ini(f"braintrust_{name}")

    def where(self, name: str, *, from_ini: bool = True) -> str:
        """The name of the place that the value of a setting came from."""
        if self.option(name):
            return self.option_name(name)
        if self._variable(name) or not from_ini:
            return _variable_name(name)
        return ini_name(name)

    def option_name(self, name: str) -> str:
        """An option as it is typed."""
        return self._dashes + name.replace("_", "-")

    def _variable(self, name: str) -> str:
        return self._environ.get(_variable_name(name), "").strip()


def ini_name(name: str) -> str:
    """An ini value as messages name it."""
    return f"ini braintrust_{name}"


def _variable_name(name: str) -> str:
    return _VARIABLES.get(name, f"BRAINTRUST_{name.upper()}")
