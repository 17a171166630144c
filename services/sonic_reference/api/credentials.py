# SPDX-License-Identifier: Apache-2.0
"""API keys, and the short-lived access tokens made with them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import jwt
from starlette.requests import HTTPConnection

from sonic_reference.api.authorization import Authorizer, presentable, refusal
from sonic_reference.api.refusals import client_of
from sonic_reference.errors import ApiError

log = logging.getLogger(__name__)

# The public API's longest life of a token, in seconds.
LONGEST_S = 3600
ISSUER = "sonic-reference"
# Characters of a token; its own are about 200.
MAX_TOKEN = 4096
# The least time between two confirmations of an open session's key.
LEAST_RECHECK_S = 1.0


@dataclass(frozen=True)
class Permit:
    """What a caller may do, and until when.

    ``key`` is the key that the license proxy checks, ``holder`` names the key or token that was
    sent, ``ends_at`` is when a token ends (seconds since 1970), None for a key.
    """

    operation: str
    key: str = field(repr=False)
    holder: bytes = field(repr=False)
    client: str
    ends_at: float | None = None

    @property
    def over(self) -> bool:
        """Whether its token has expired."""
        return self.ends_at is not None and time.time() >= self.ends_at


class Credentials:
    """Checks callers, and makes access tokens.

    Tokens are signed with a key that is derived from the site's own API key. Every API pod derives
    the same one, and all tokens end when the site's key is replaced. A token's bearer has the
    rights of the site's key. Without a site key there are no tokens.
    """

    def __init__(self, authorizer: Authorizer, site_key: str) -> None:
        self._authorizer = authorizer
        self._site_key = site_key
        self._secret = hashlib.blake2b(site_key.encode(), person=b"access-token").digest()

    async def check(self, connection: HTTPConnection, operation: str) -> Permit:
        """Return the caller's permit. Raises ApiError 401, 402, 403, 503."""
        shown = _shown(connection)
        client = client_of(connection)
        is_token = shown.count(".") == 2 and len(shown) <= MAX_TOKEN and shown.isascii()
        if shown and not is_token and not presentable(shown):
            log.info("a key of %d characters was refused: it is no printable ASCII", len(shown))
            raise refusal(401)
        ends_at = self._end_of(shown, operation) if is_token else None
        key = self._site_key if is_token else shown
        permit = Permit(operation, key, self._authorizer.digest(shown), client, ends_at)
        await self._authorizer.check(permit.key, operation, client)
        return permit

    async def confirm(self, permit: Permit) -> None:
        """Return when a permit still holds. Raises ApiError 401, 402, 403, 503."""
        if permit.over:
            raise _expired()
        await self._authorizer.check(permit.key, permit.operation, permit.client)

    async def ended(self, permit: Permit) -> ApiError:
        """Wait for a permit's end, and return the public error that says why it ended.

        A token ends at its time, a key when the license proxy no longer confirms it.
        """
        recheck_s = max(LEAST_RECHECK_S, self._authorizer.ttl_s / 2)
        while True:
            left_s = recheck_s if permit.ends_at is None else permit.ends_at - time.time()
            await asyncio.sleep(min(recheck_s, max(0.0, left_s)))
            try:
                await self.confirm(permit)
            except ApiError as error:
                return error

    def token(self, grants: Mapping[str, bool], life_s: int) -> str:
        """Return a new token. Raises ApiError 403 when the site has no key to sign it."""
        if not self._site_key:
            raise ApiError(
                403, "forbidden", "Forbidden", "This site has no key to sign access tokens with"
            )
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "iat": now,
            "exp": now + life_s,
            "grants": sorted(name for name, granted in grants.items() if granted),
        }
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def _end_of(self, token: str, operation: str) -> float:
        """Return when a token ends (seconds since 1970). Raises ApiError 401, 403."""
        if not self._site_key:
            raise refusal(401)
        try:
            claims = jwt.decode(
                token, self._secret, algorithms=["HS256"], issuer=ISSUER,
                options={"require": ["exp", "iss", "grants"]},
            )  # fmt: skip
        except jwt.ExpiredSignatureError:
            raise _expired() from None
        except jwt.PyJWTError:
            raise refusal(401) from None
        if operation not in claims["grants"]:
            raise ApiError(
                403, "forbidden", "Forbidden", f"The access token does not grant {operation}"
            )
        return float(claims["exp"])


def _expired() -> ApiError:
    return ApiError(401, "token_expired", "Unauthorized", "The access token has expired")


def _shown(connection: HTTPConnection) -> str:
    """Return the key or token of a request, else nothing.

    The headers X-API-Key and Authorization: Bearer come first. A query may hold an access_token;
    of a WebSocket also an api_key, since browsers set no headers there.
    """
    headers = connection.headers
    # Spaces and tabs around a header's value do not belong to it (RFC 9110, 5.5).
    if key := headers.get("x-api-key", "").strip(" \t"):
        return key
    scheme, _unused, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and (key := key.strip(" \t")):
        return key
    query = connection.query_params
    if token := query.get("access_token", ""):
        return token
    return query.get("api_key", "") if connection.scope["type"] == "websocket" else ""
