# SPDX-License-Identifier: Apache-2.0
"""Voices, pronunciation dictionaries and access tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sonic_reference.api.library import Dictionary
from sonic_reference.api.requests import read_body
from sonic_reference.api.schema import (
    PAGED_VOICES,
    DictionaryChange,
    DictionaryRequest,
    PageRequest,
    TokenRequest,
    VoicesRequest,
    parse,
    parse_json,
    parse_version,
)
from sonic_reference.api.site import site_of
from sonic_reference.errors import ApiError
from sonic_reference.voices import Voice

Fields = dict[str, Any]
Endpoint = Callable[[Request], Awaitable[Response]]
# Voices have no date of their own: they came with the first version of this stack.
VOICES_SINCE = "2026-11-01T00:00:00Z"
# Seconds that a token lives whose maker says nothing about it.
DEFAULT_LIFE_S = 3600


def page(items: Sequence[Fields], query: PageRequest) -> Fields:
    """Return the page of a list that begins after, or ends before, an item's id.

    Raises ApiError 400 for an id that is not in the list.
    """
    ids = [item["id"] for item in items]
    cursor = query.starting_after or query.ending_before
    if cursor and cursor not in ids:
        name = "starting_after" if query.starting_after else "ending_before"
        raise ApiError(400, "invalid_request", "Invalid request", f"{name}: no such id in the list")
    if query.ending_before:
        left = items[: ids.index(query.ending_before)]
        return {"data": left[-query.limit :], "has_more": len(left) > query.limit}
    left = items[ids.index(query.starting_after) + 1 if query.starting_after else 0 :]
    return {"data": left[: query.limit], "has_more": len(left) > query.limit}


def public_voice(voice: Voice) -> Fields:
    """Return a voice as the API shows it."""
    return {
        "id": voice.id,
        "name": voice.name,
        "tagline": "eSpeak NG",
        "description": voice.description or f"eSpeak NG, variant {voice.variant}",
        "language": voice.language,
        "locales": [{"locale": voice.locale, "is_native": True}],
        "country": voice.locale.partition("-")[2],
        "gender": voice.gender,
        "access": "public",
        "visibility": "all",
        "is_public": True,
        "is_owner": False,
        "created_at": VOICES_SINCE,
    }


def _matches(voice: Voice, query: VoicesRequest) -> bool:
    text = (query.q or "").lower()
    return (
        (text in voice.name.lower() or text == voice.id or text == voice.language)
        and query.gender in (None, voice.gender)
        and not query.is_owner
    )


async def _admit(request: Request) -> str:
    """Return the version of the API that an authorized request names. Raises ApiError."""
    version = parse_version(request.headers.get("cartesia-version"))
    await site_of(request).credentials.check(request, "library")
    return version


async def _body(request: Request) -> bytes:
    return await read_body(request, site_of(request).settings.max_body_bytes)


def _voice(request: Request) -> Voice:
    """Return the voice that the path names. Raises ApiError 404."""
    voice = site_of(request).voices.find(request.path_params["id"])
    if voice is None:
        raise ApiError(404, "not_found", "Not found", "There is no voice of this id")
    return voice


async def _dictionary(request: Request) -> Dictionary:
    """Return the dictionary that the path names. Raises ApiError 404."""
    library = site_of(request).library
    await library.fetch(request.path_params["id"])
    return library.get(request.path_params["id"])


async def list_voices(request: Request) -> Response:
    """Answer GET /voices."""
    version = await _admit(request)
    query = parse(VoicesRequest, dict(request.query_params))
    voices = [public_voice(one) for one in site_of(request).voices.all() if _matches(one, query)]
    return JSONResponse(page(voices, query) if version >= PAGED_VOICES else voices)


async def get_voice(request: Request) -> Response:
    """Answer GET /voices/ID."""
    await _admit(request)
    return JSONResponse(public_voice(_voice(request)))


async def change_voice(request: Request) -> Response:
    """Refuse to make, change or delete a voice."""
    await _admit(request)
    if "id" in request.path_params:
        _voice(request)
    message = "Voices of this site come with its artifacts; they cannot be made or changed here"
    raise ApiError(403, "forbidden", "Forbidden", message)


async def list_dictionaries(request: Request) -> Response:
    """Answer GET /pronunciation-dicts."""
    await _admit(request)
    query = parse(PageRequest, dict(request.query_params))
    return JSONResponse(page([one.public() for one in site_of(request).library.all()], query))


async def create_dictionary(request: Request) -> Response:
    """Answer POST /pronunciation-dicts."""
    await _admit(request)
    new = parse_json(DictionaryRequest, await _body(request))
    made = await site_of(request).library.create(new.name, new.items or [])
    return JSONResponse(made.public())


async def get_dictionary(request: Request) -> Response:
    """Answer GET /pronunciation-dicts/ID."""
    await _admit(request)
    return JSONResponse((await _dictionary(request)).public())


async def change_dictionary(request: Request) -> Response:
    """Answer PATCH /pronunciation-dicts/ID."""
    await _admit(request)
    known = await _dictionary(request)
    change = parse_json(DictionaryChange, await _body(request))
    changes = {
        name: value
        for name, value in (("name", change.name), ("items", change.items))
        if value is not None
    }
    return JSONResponse((await site_of(request).library.update(known, **changes)).public())


async def delete_dictionary(request: Request) -> Response:
    """Answer DELETE /pronunciation-dicts/ID."""
    await _admit(request)
    await site_of(request).library.delete(await _dictionary(request))
    return Response(status_code=204)


async def create_token(request: Request) -> Response:
    """Answer POST /access-token."""
    await _admit(request)
    new = parse_json(TokenRequest, await _body(request))
    grants = new.grants.model_dump() if new.grants else {}
    token = site_of(request).credentials.token(grants, new.expires_in or DEFAULT_LIFE_S)
    return JSONResponse({"token": token}, headers={"Cache-Control": "no-store"})


def _by_method(endpoints: Mapping[str, Endpoint]) -> Endpoint:
    """Return one endpoint for a path, so that a wrong method's answer names all right ones."""

    async def serve(request: Request) -> Response:
        return await endpoints["GET" if request.method == "HEAD" else request.method](request)

    return serve


ENDPOINTS: dict[str, dict[str, Endpoint]] = {
    "/voices": {"GET": list_voices},
    "/voices/clone": {"POST": change_voice},
    "/voices/localize": {"POST": change_voice},
    "/voices/{id}": {"GET": get_voice, "PATCH": change_voice, "DELETE": change_voice},
    "/pronunciation-dicts": {"GET": list_dictionaries, "POST": create_dictionary},
    "/pronunciation-dicts/{id}": {
        "GET": get_dictionary, "PATCH": change_dictionary, "DELETE": delete_dictionary
    },
    "/access-token": {"POST": create_token},
}  # fmt: skip
# Clients write the lists' paths with a slash at the end and without one.
ROUTES = [
    Route(path + end, _by_method(endpoints), methods=list(endpoints))
    for path, endpoints in ENDPOINTS.items()
    for end in ("", "/")
]
