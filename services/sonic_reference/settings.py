# SPDX-License-Identifier: Apache-2.0
"""Read a service's settings from its environment, and report every bad one at once."""

from __future__ import annotations

from collections.abc import Mapping


class SettingsError(Exception):
    """One or more environment variables cannot be used; the text has one line for each."""


class Environment:
    """Typed access to environment variables; problems are collected until :meth:`check`.

    An empty variable counts as one that is not set, but for lists.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._problems: list[str] = []

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text; without a default the variable is required."""
        value = self._variables.get(name, "").strip()
        if value:
            return value
        if default is None:
            self._problems.append(f"{name} is not set")
            return ""
        return default

    def names(self, name: str, default: str) -> tuple[str, ...]:
        """Return a comma-separated list; set and empty it has no names."""
        value = self._variables.get(name, default)
        return tuple(part.strip() for part in value.split(",") if part.strip())

    def url(self, name: str, schemes: tuple[str, ...]) -> str:
        """Return a required URL with one of the given schemes."""
        value = self.text(name)
        if value and not value.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            self._problems.append(f"{name}={value!r} does not start with {' or '.join(schemes)}://")
        return value.rstrip("/")

    def optional_url(self, name: str, schemes: tuple[str, ...]) -> str:
        """Return a URL as :meth:`url` does, empty when the variable is not set."""
        return self.url(name, schemes) if self.text(name, "") else ""

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """Return a whole number from low to high."""
        value = self.text(name, str(default))
        try:
            number = int(value)
        except ValueError:
            number = low - 1
        if low <= number <= high:
            return number
        self._problems.append(f"{name}={value!r} is not a whole number from {low} to {high}")
        return default

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """Return a number from low to high."""
        value = self.text(name, str(default))
        try:
            number = float(value)
        except ValueError:
            number = low - 1
        if low <= number <= high:
            return number
        self._problems.append(f"{name}={value!r} is not a number from {low:g} to {high:g}")
        return default

    def switch(self, name: str, default: bool) -> bool:
        """Return true or false; reads true, false, 1, 0, yes, no in any case."""
        value = self.text(name, str(default)).lower()
        if value not in ("true", "false", "1", "0", "yes", "no"):
            self._problems.append(f"{name}={value!r} is neither true nor false")
        return value in ("true", "1", "yes")

    def refuse(self, problem: str) -> None:
        """Add a problem that a caller found."""
        self._problems.append(problem)

    def check(self) -> None:
        """Raise SettingsError when anything was wrong."""
        if self._problems:
            raise SettingsError("\n".join(self._problems))
