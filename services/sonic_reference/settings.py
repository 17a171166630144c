# SPDX-License-Identifier: Apache-2.0
"""Read a service's settings from its environment, and report all bad ones at once.

Each service has one frozen model. A field names its environment variable as ``validation_alias``.
services/README.md documents the variables.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError


class SettingsError(Exception):
    """One or more environment variables cannot be used; the text has one line for each."""


class Settings(BaseModel):
    """Settings of a service, or a group of them that several services share.

    An empty variable counts as one that is not set, except for lists of names.
    """

    model_config = ConfigDict(
        frozen=True, validate_by_name=True, validate_by_alias=True, arbitrary_types_allowed=True
    )

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Self:
        """Return the settings in these environment variables.

        Raises SettingsError with every variable that cannot be used.
        """
        try:
            return cls.model_validate(cls._values(variables))
        except ValidationError as error:
            fields = cls.variables()
            lines = [_problem(each, *fields[str(each["loc"][-1])]) for each in error.errors()]
            raise SettingsError("\n".join(lines)) from None

    @classmethod
    def _values(cls, variables: Mapping[str, str]) -> dict[str, Any]:
        """Return the variables that are set, those of groups under the group's name."""
        values: dict[str, Any] = {}
        for name, field in cls.model_fields.items():
            group = _group(field)
            variable = str(field.validation_alias)
            if group:
                values[name] = group._values(variables)
            elif (text := variables.get(variable, "").strip()) or (
                _Names in field.metadata and variable in variables
            ):
                values[variable] = text
        return values

    @classmethod
    def variables(cls) -> dict[str, tuple[str, FieldInfo]]:
        """Return each variable and its field, by the names that pydantic's errors have for them."""
        fields: dict[str, tuple[str, FieldInfo]] = {}
        for name, field in cls.model_fields.items():
            variable = str(field.validation_alias)
            group = _group(field)
            fields |= (
                group.variables() if group else dict.fromkeys((name, variable), (variable, field))
            )
        return fields


def _group(field: FieldInfo) -> type[Settings] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Settings) else None


_KINDS: dict[Any, str] = {
    int: "is not a whole number from {ge} to {le}",
    float: "is not a number from {ge:g} to {le:g}",
    bool: "is neither true nor false",
}


def _problem(error: ErrorDetails, variable: str, field: FieldInfo) -> str:
    """Return one line for a variable that cannot be used."""
    if error["type"] == "missing":
        return f"{variable} is not set"
    if error["type"] == WHOLE_LINE:
        return error["msg"]
    if error["type"] == "value_error":
        wrong = str(error["ctx"]["error"])
    else:
        limits = {
            limit: getattr(each, limit)
            for each in field.metadata
            for limit in ("ge", "le")
            if hasattr(each, limit)
        }
        wrong = _KINDS[field.annotation].format(**limits)
    return f"{variable}={error['input']!r} {wrong}"


# The type of errors whose message names the variable itself, and does not show its value.
WHOLE_LINE = "whole_line"


def refused(line: str) -> PydanticCustomError:
    """Return an error for a validator to raise whose line does not show the variable's value."""
    # The message is a template: a brace of its own would be a field.
    return PydanticCustomError(WHOLE_LINE, "{line}", {"line": line})


def not_set() -> PydanticCustomError:
    """Return an error for a validator to raise where a variable is required after all."""
    return PydanticCustomError("missing", "is not set")


class _Names:
    """Marks a list of names: set and empty, it has none."""


def _split(value: str | Sequence[str]) -> Sequence[str]:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_split), _Names]
Secret = Annotated[str, Field(repr=False)]
Port = Annotated[int, Field(ge=1, le=65535)]


def url(*schemes: str) -> Callable[[str], str]:
    """Return a check that a URL has one of these schemes; slashes at its end are dropped."""
    starts = tuple(f"{scheme}://" for scheme in schemes)

    def check(value: str) -> str:
        if value and not value.startswith(starts):
            raise ValueError(f"does not start with {' or '.join(schemes)}://")
        return value.rstrip("/")

    return check


https = url("https")
HttpUrl = Annotated[str, AfterValidator(url("http", "https"))]
NatsUrl = Annotated[str, AfterValidator(url("nats", "tls"))]


def _level(value: str) -> str:
    level = value.upper()
    if level not in logging.getLevelNamesMapping():
        raise ValueError("is not a log level: DEBUG, INFO, WARNING, ERROR or CRITICAL")
    return level


class ServiceSettings(Settings):
    """What all services read."""

    host: str = Field(default="0.0.0.0", validation_alias="SONIC_HOST")
    log_level: Annotated[str, AfterValidator(_level)] = Field(
        default="INFO", validation_alias="SONIC_LOG_LEVEL"
    )
