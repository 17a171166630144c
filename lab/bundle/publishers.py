# SPDX-License-Identifier: Apache-2.0
"""HTTPS requests to publishers: registries with tokens, rate limits, and files."""

from __future__ import annotations

import hashlib
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Generator
from urllib.parse import urlsplit

import httpx

from lab.config import LabError

# The authorities that apt and podman trust on Debian, too.
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
# The longest that a publisher's rate limit is waited for, in seconds, for one request.
PATIENCE_S = 60.0
TIMEOUT_S = 20.0
MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


class NotTakenError(LabError):
    """A part that a publisher does not have, or does not hand out now.

    `part` is the part's step, and `reason` what the publisher answered.
    """

    def __init__(self, part: str, reason: str) -> None:
        """Keep both for the caller, which may build the part."""
        super().__init__(f"{part} cannot be taken from its publisher: {reason}")
        self.part = part
        self.reason = reason


class Bearer(httpx.Auth):
    """A registry's tokens for anonymous pulls (distribution's token authentication)."""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Ask for a token where the registry names who gives one, and repeat the request.

        Raises:
            httpx.RequestError: the endpoint of tokens gives none.
        """
        response = yield request
        scheme, _space, words = response.headers.get("www-authenticate", "").partition(" ")
        if response.status_code != httpx.codes.UNAUTHORIZED or scheme.lower() != "bearer":
            return
        named = urllib.request.parse_keqv_list(urllib.request.parse_http_list(words))
        realm = named.pop("realm", "")
        if urlsplit(realm).scheme != "https":
            return
        query: dict[str, str] = {n: named[n] for n in named if n in {"service", "scope"}}
        given = yield httpx.Request("GET", httpx.URL(realm).copy_merge_params(query))
        given.read()
        if given.status_code == httpx.codes.TOO_MANY_REQUESTS:
            return
        token = _token(given)
        if not token:
            # Without this its answer would pass for the registry's.
            raise httpx.RequestError(f"{realm} gives no token", request=request)
        request.headers["Authorization"] = f"Bearer {token}"
        yield request


def _token(answer: httpx.Response) -> str:
    """Return the token that an answer holds; empty where it holds none."""
    try:
        answered = answer.json() if answer.status_code == httpx.codes.OK else None
    except ValueError:
        return ""
    if not isinstance(answered, dict):
        return ""
    return str(answered.get("token") or answered.get("access_token") or "")


def client() -> httpx.Client:
    """Return a client that trusts what Debian trusts and follows redirects."""
    return httpx.Client(
        verify=ssl.create_default_context(cafile=AUTHORITIES),
        timeout=TIMEOUT_S,
        follow_redirects=True,
    )


def ask(
    http: httpx.Client,
    part: str,
    method: str,
    url: str,
    headers: dict[str, str] | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> httpx.Response:
    """One successful answer; a rate limit is waited for as long as it says, within PATIENCE_S.

    Raises:
        NotTakenError: there is no such thing, no answer, or a longer limit; it names `part`.
    """
    left = PATIENCE_S
    while True:
        try:
            response = http.request(method, url, headers=headers, auth=Bearer())
        except (httpx.HTTPError, ValueError) as error:
            raise NotTakenError(part, f"{url}: {error}") from error
        if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
            break
        wait = max(1.0, _seconds(response.headers.get("retry-after", "")))
        if wait > left:
            raise NotTakenError(part, f"{url}: its rate limit ends in {wait:.0f} s")
        left -= wait
        pause(wait)
    if response.status_code != httpx.codes.OK:
        raise NotTakenError(part, f"{url}: {response.status_code} {response.reason_phrase}")
    return response


def _seconds(text: str) -> float:
    # A date is allowed there, too: registries send seconds, so a date is a limit of unknown length.
    if not text:
        return 5.0
    return float(text) if text.isdigit() else PATIENCE_S + 1


def image_digest(http: httpx.Client, part: str, image: str, tag: str) -> str:
    """Return the digest that an image's tag has at its registry now.

    Raises:
        NotTakenError: the registry has no such tag, or does not answer.
    """
    host, _slash, repository = image.partition("/")
    url = f"https://{registry_host(host)}/v2/{repository}/manifests/{tag}"
    response = ask(http, part, "HEAD", url, {"Accept": MANIFESTS})
    digest = str(response.headers.get("docker-content-digest", ""))
    if not digest:
        body = ask(http, part, "GET", url, {"Accept": MANIFESTS}).content
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    return digest


def registry_host(name: str) -> str:
    """Return the host that serves a registry's name; Docker Hub's is another one than its name."""
    return "registry-1.docker.io" if name == "docker.io" else name


def answering(hosts: set[str], seconds: float = 3.0) -> set[str]:
    """Those of the hosts that answer HTTPS at all, whatever they say, within these seconds."""
    reached: set[str] = set()
    http = client()

    def look(host: str) -> None:
        try:
            http.head(f"https://{host}/", timeout=seconds, follow_redirects=False)
        except httpx.HTTPError:
            return
        reached.add(host)

    # Daemons: the resolver of names has its own, longer patience.
    threads = [threading.Thread(target=look, args=(host,), daemon=True) for host in hosts]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return set(reached)
