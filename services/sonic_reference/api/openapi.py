# SPDX-License-Identifier: Apache-2.0
"""The API's description for machines: OpenAPI 3.1, made from the models that check requests."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from sonic_reference.api.schema import (
    DEFAULT_VERSION,
    DictionaryChange,
    DictionaryRequest,
    EventsRequest,
    ListenRequest,
    PageRequest,
    SpeechRequest,
    TokenRequest,
    VoicesRequest,
)

Fields = dict[str, Any]
REFERENCE = "#/components/schemas/{model}"
TEXT: Fields = {"type": "string"}
FLAG: Fields = {"type": "boolean"}
ERROR = {
    "type": "object",
    "required": ["error_code", "title", "message", "request_id"],
    "properties": {
        "error_code": TEXT, "title": TEXT, "message": TEXT, "request_id": TEXT, "doc_url": TEXT,
    },
}  # fmt: skip
VOICE = {
    "type": "object",
    "required": ["id", "name", "description", "language", "created_at", "is_owner"],
    "properties": {"id": TEXT, "name": TEXT, "description": TEXT, "language": TEXT},
}
DICTIONARY = {
    "type": "object",
    "required": ["id", "name", "items", "created_at", "owner_id", "pinned"],
    "properties": {"id": TEXT, "name": TEXT, "items": {"type": "array"}, "pinned": FLAG},
}
TRANSCRIPT = {
    "type": "object",
    "required": ["type", "text", "duration", "language", "request_id"],
    "properties": {"type": {"const": "transcript"}, "text": TEXT, "language": TEXT},
}
STATUS = {"type": "object", "required": ["ok", "version"], "properties": {"ok": FLAG}}
TOKEN = {"type": "object", "required": ["token"], "properties": {"token": TEXT}}


def _page(item: Fields) -> Fields:
    return {
        "type": "object",
        "required": ["data", "has_more"],
        "properties": {"data": {"type": "array", "items": item}, "has_more": FLAG},
    }


def _json(schema: Fields) -> Fields:
    return {"application/json": {"schema": schema}}


def _body(model: type[BaseModel], media_type: str = "application/json") -> Fields:
    schema = {"$ref": REFERENCE.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {media_type: {"schema": schema}}}}


def _query(model: type[BaseModel], *, only: tuple[str, ...] = ()) -> list[Fields]:
    schema = model.model_json_schema()
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", ()),
         "schema": field}
        for name, field in schema["properties"].items()
        if not only or name in only
    ]  # fmt: skip


def _answer(operation: str, content: Fields, *errors: int, **more: Any) -> Fields:
    """Return an operation that answers 200 with this content, or one of these errors."""
    statuses = {str(status): {"$ref": "#/components/responses/Error"} for status in errors}
    success = {"200": {"description": "Success", "content": content}}
    return {"operationId": operation, "responses": success | statuses} | more


def _refused(operation: str) -> Fields:
    """Return an operation that always ends in an error here."""
    refused = _answer(operation, {}, *KEY_ERRORS, 404)
    del refused["responses"]["200"]
    return refused


ID = [{"name": "id", "in": "path", "required": True, "schema": TEXT}]
AUDIO = {
    media_type: {"schema": {"type": "string", "format": "binary"}}
    for media_type in ("audio/wav", "audio/pcm", "audio/mpeg")
}
KEY_ERRORS = (400, 401, 402, 403, 503)
BODY_ERRORS = (*KEY_ERRORS, 408, 413)
JOB_ERRORS = (*BODY_ERRORS, 404, 429)
OPEN: Fields = {"security": []}


def _paths() -> Fields:
    deleted = {"204": {"description": "Deleted"}}
    delete = _answer("deletePronunciationDict", {}, *KEY_ERRORS, 404)
    del delete["responses"]["200"]
    delete["responses"] |= deleted
    recording = _body(ListenRequest, "multipart/form-data")
    recording["requestBody"]["content"]["multipart/form-data"]["schema"] = {
        "type": "object",
        "required": ["file", "model"],
        "properties": {
            "file": {"type": "string", "format": "binary"},
            "model": TEXT,
            "language": TEXT,
            "timestamp_granularities[]": {"type": "array", "items": {"const": "word"}},
        },
    }
    return {
        "/": {"get": _answer("getApi", _json(STATUS), **OPEN)},
        "/status": {"get": _answer("getStatus", _json(STATUS), **OPEN)},
        "/tts/bytes": {
            "post": _answer("ttsBytes", AUDIO, *JOB_ERRORS, **_body(SpeechRequest)),
        },
        "/tts/sse": {
            "post": _answer(
                "ttsSse", {"text/event-stream": {"schema": TEXT}}, *JOB_ERRORS,
                **_body(EventsRequest),
            ),
        },
        "/stt": {
            "post": _answer(
                "sttTranscribe", _json(TRANSCRIPT), *JOB_ERRORS, **recording,
                parameters=_query(ListenRequest, only=("encoding", "sample_rate")),
            ),
        },
        "/voices": {
            "get": _answer(
                "listVoices", _json(_page(VOICE)), *KEY_ERRORS, parameters=_query(VoicesRequest)
            ),
        },
        "/voices/{id}": {
            "parameters": ID,
            "get": _answer("getVoice", _json(VOICE), *KEY_ERRORS, 404),
            "patch": _refused("updateVoice"),
            "delete": _refused("deleteVoice"),
        },
        "/pronunciation-dicts/": {
            "get": _answer(
                "listPronunciationDicts", _json(_page(DICTIONARY)), *KEY_ERRORS,
                parameters=_query(PageRequest),
            ),
            "post": _answer(
                "createPronunciationDict", _json(DICTIONARY), *BODY_ERRORS,
                **_body(DictionaryRequest),
            ),
        },
        "/pronunciation-dicts/{id}": {
            "parameters": ID,
            "get": _answer("getPronunciationDict", _json(DICTIONARY), *KEY_ERRORS, 404),
            "patch": _answer(
                "updatePronunciationDict", _json(DICTIONARY), *BODY_ERRORS, 404,
                **_body(DictionaryChange),
            ),
            "delete": delete,
        },
        "/access-token": {
            "post": _answer("createAccessToken", _json(TOKEN), *BODY_ERRORS, **_body(TokenRequest)),
        },
    }  # fmt: skip


@cache
def document() -> Fields:
    """Return the description; WebSockets are none of OpenAPI's business."""
    models = (SpeechRequest, EventsRequest, DictionaryRequest, DictionaryChange, TokenRequest)
    _unused, schemas = models_json_schema(
        [(model, "validation") for model in models], ref_template=REFERENCE
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Speech API of the reference stack", "version": DEFAULT_VERSION},
        "security": [{"bearer": []}, {"key": []}],
        "paths": _paths(),
        "components": {
            "schemas": schemas["$defs"],
            "responses": {"Error": {"description": "What is wrong", "content": _json(ERROR)}},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }
