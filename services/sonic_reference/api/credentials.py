# SPDX-License-Identifier: Apache-2.0
"""Who asks: API keys, and the short-lived access tokens made from them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping

import jwt
from starlette.requests import HTTPConnection

from sonic_reference.api.authorization import Authorizer, refusal
from sonic_reference.errors import ApiError

# The public API's longest life of a token, in seconds.
LONGEST_S = 3600
ISSUER = "sonic-reference"


class Credentials:
    """Checks who asks, and makes access tokens.

    Tokens are signed by a key that follows from the site's own API key: every API pod makes the
    same, and all tokens end when that key is replaced. A token's bearer is authorized as the site
    is, by that key. Without a site key there are no tokens.
    """

    def __init__(self, authorizer: Authorizer, site_key: str) -> None:
        self._authorizer = authorizer
        self._site_key = site_key
        self._secret = hashlib.blake2b(site_key.encode(), person=b"access-token").digest()

    async def check(self, connection: HTTPConnection, operation: str) -> None:
        """Return when whoever asks may do this. Raises ApiError 401, 402, 403, 503."""
        key = _key(connection.headers)
        token = connection.query_params.get("access_token", "")
        if not key and token:
            key = token
        if key.count(".") == 2:
            self._check_token(key, operation)
            key = self._site_key
        await self._authorizer.check(key, operation)

    def token(self, grants: Mapping[str, bool], life_s: int) -> str:
        """Return a new token. Raises ApiError 403 where the site cannot make any."""
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

    def _check_token(self, token: str, operation: str) -> None:
        if not self._site_key:
            raise refusal(401)
        try:
            claims = jwt.decode(
                token, self._secret, algorithms=["HS256"], issuer=ISSUER,
                options={"require": ["exp", "iss", "grants"]},
            )  # fmt: skip
        except jwt.ExpiredSignatureError:
            raise ApiError(
                401, "token_expired", "Unauthorized", "The access token has expired"
            ) from None
        except jwt.PyJWTError:
            raise refusal(401) from None
        if operation not in claims["grants"]:
            raise ApiError(
                403, "forbidden", "Forbidden", f"The access token does not grant {operation}"
            )


def _key(headers: Mapping[str, str]) -> str:
    """Return the key or token of the headers X-API-Key or Authorization: Bearer, else nothing."""
    if key := headers.get("x-api-key", "").strip():
        return key
    scheme, _unused, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""
