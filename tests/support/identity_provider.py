"""A stand-in for an OpenID provider on loopback: it refuses what a provider refuses, and signs with keys of its own.

https://openid.net/specs/openid-connect-core-1_0.html, RFC 6749 and RFC 7636. It asks for no password: whom it is told is signed in there.
"""

import json
import secrets
import threading
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

CLIENT_ID, CLIENT_SECRET = "the approval page", "s3cret:/?"


def rsa_key() -> RSAKey:
    """A key that nobody else has."""
    return RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig", "alg": "RS256"})


@dataclass
class Provider:
    """`who`: the claims of whoever is signed in at the provider; `claims` replaces some of an ID token's, None takes one away.

    `forge`: makes the ID token in place of the provider. `attempts`: what browsers were sent with; `exchanged`: how many codes were taken.
    """

    now: Callable[[], float]
    redirect_uris: set[str]
    url: str = ""
    who: dict[str, Any] = field(default_factory=lambda: {"sub": "oidc-ann", "email": "ann@example.com", "email_verified": True})
    claims: dict[str, Any] = field(default_factory=dict)
    forge: Callable[[dict[str, Any]], str] | None = None
    described: dict[str, Any] = field(default_factory=dict)
    key: RSAKey = field(default_factory=rsa_key)
    attempts: list[dict[str, str]] = field(default_factory=list)
    exchanged: int = 0
    error: str = ""
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def authorize(self, query: dict[str, str]) -> tuple[int, str]:
        """Where the browser is sent, or why not."""
        self.attempts.append(query)
        if query.get("client_id") != CLIENT_ID or query.get("redirect_uri") not in self.redirect_uris:
            return 400, "no such client, or not its redirect URI"
        if self.error:
            return 302, f"{query['redirect_uri']}?{urlencode({'error': self.error, 'state': query['state']})}"
        challenged = query.get("code_challenge_method") == "S256" and len(query.get("code_challenge", "")) == 43
        if query.get("response_type") != "code" or "openid" not in query.get("scope", "").split() or not challenged:
            return 400, "not a request for a code, with PKCE"
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        return 302, f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def token(self, authorization: str, form: dict[str, str]) -> tuple[int, dict[str, object]]:
        """The tokens for a code, once."""
        given = unquote(b64decode(authorization.removeprefix("Basic ")).decode())
        if given != f"{CLIENT_ID}:{CLIENT_SECRET}":
            return 401, {"error": "invalid_client"}
        asked = self.codes.pop(form.get("code", ""), None)
        challenge = urlsafe_b64encode(sha256(form.get("code_verifier", "").encode()).digest()).rstrip(b"=").decode()
        if asked is None or challenge != asked["code_challenge"] or form.get("redirect_uri") != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        self.exchanged += 1
        at = int(self.now())
        claims = {"iss": self.url, "aud": CLIENT_ID, "iat": at, "exp": at + 300, "nonce": asked["nonce"], **self.who, **self.claims}
        made = {name: value for name, value in claims.items() if value is not None}
        token = self.forge(made) if self.forge else jwt.encode({"alg": "RS256", "kid": self.key.kid}, made, self.key)
        return 200, {"access_token": "opaque", "token_type": "Bearer", "id_token": token}

    def description(self) -> dict[str, object]:
        """What it says of itself."""
        endpoints = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
        return {"issuer": self.url, **{name: f"{self.url}/{path}" for name, path in endpoints.items()}, **self.described}


@contextmanager
def running(now: Callable[[], float], *redirect_uris: str) -> Iterator[Provider]:
    """A provider that answers at its `url`, which is another site than 127.0.0.1."""
    provider = Provider(now, set(redirect_uris))

    class Handler(BaseHTTPRequestHandler):
        def _say(self, status: int, said: object, location: str = "") -> None:
            content = json.dumps(said).encode()
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/.well-known/openid-configuration":
                self._say(200, provider.description())
            elif parts.path == "/jwks":
                self._say(200, KeySet([provider.key]).as_dict(private=False))
            elif parts.path == "/authorize":
                status, said = provider.authorize(dict(parse_qsl(parts.query)))
                self._say(status, said, said if status == 302 else "")
            else:
                self._say(404, "not here")

        def do_POST(self) -> None:
            form = dict(parse_qsl(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()))
            self._say(*provider.token(self.headers.get("Authorization", ""), form))

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    provider.url = f"http://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield provider
    server.shutdown()
    server.server_close()
    thread.join(5)
