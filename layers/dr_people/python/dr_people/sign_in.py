"""Signing in to the approval page with an OpenID provider, so that the provider says who decides and not the link alone.

Authorization code with PKCE (RFC 7636), state, nonce, and an ID token whose signature and claims are checked, as OpenID Connect Core 1.0
and RFC 9700 ask for: https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation. What has to be remembered between the way to
the provider and the way back lies in a cookie of the browser, signed. Nothing is written.
"""

import json
import secrets
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, cached_property
from hashlib import sha256
from hmac import compare_digest
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from urllib3 import PoolManager, Timeout
from urllib3.exceptions import HTTPError

from dr_core.approvals import Identity, Response, cookie_of, page_of
from dr_core.errors import OrchestratorError
from dr_core.links import BadLinkError, LinkSigner
from dr_core.observability import logger
from dr_core.secret_store import Secret
from dr_core.settings import optional, setting

ATTEMPT_SECONDS: Final = 600
SESSION_SECONDS: Final = 1800
_LEEWAY_SECONDS: Final = 30  # of the provider's clock
_ATTEMPT, _SESSION = "sign-in", "session"
_SCOPES = "openid email"
# Those that a key of the provider signs with: never `none`, and none whose key would be the client's secret.
_ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")


class NotSignedInError(OrchestratorError):
    """The provider, or what came back from it, does not say who it is; the text is for the person."""


class ProviderError(OrchestratorError):
    """The provider does not answer, or not as OpenID Connect has it."""


def _secure(url: str) -> str:
    if not url.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise ValueError("an address of a provider begins with https://")
    return url


_Url = Annotated[str, AfterValidator(_secure)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Provider(_Model):
    """What is read of the provider's own description: OpenID Connect Discovery 1.0, section 3."""

    issuer: str
    authorization_endpoint: _Url
    token_endpoint: _Url
    jwks_uri: _Url


class _Tokens(_Model):
    id_token: str


class _Claims(_Model):
    sub: str = Field(min_length=1, max_length=255)
    aud: str | list[str]
    azp: str = ""
    email: str = ""
    email_verified: bool = False


class OidcSecret(_Model):
    """The secret's JSON, as the operator stores it; a public client has none."""

    client_secret: str = Field(alias="clientSecret")


@dataclass(frozen=True)
class SignIn:
    """A client of the provider `issuer`. `page_url`: where people reach the page; empty for the function's own URL."""

    issuer: str
    client_id: str
    client_secret: Callable[[], str]
    page_url: str = ""

    def answer(self, event: Mapping[str, Any], signer: LinkSigner, now: datetime) -> Response | None:
        """The answer to a request that is about signing in; None to all others. `event`: a function URL's, payload format 2.0."""
        step = str(event.get("rawPath", "")).rstrip("/").rpartition("/")[2]
        if step not in ("sign-in", "signed-in"):
            return None
        if event["requestContext"]["http"]["method"] != "GET":
            return Response(405, "Not allowed", "Signing in begins and ends with a GET.")
        query: Mapping[str, str] = event.get("queryStringParameters") or {}
        try:
            if step == "sign-in":
                return self._begin(page_of(event, self.page_url), query, signer, now)
            return self._end(page_of(event, self.page_url), query, cookie_of(event, self._name(_ATTEMPT)), signer, now)
        except (NotSignedInError, BadLinkError) as error:
            logger.warning("not signed in", extra={"why": str(error)})
            return Response(403, "You are not signed in", f"{error}.")
        except ProviderError as error:
            logger.exception("the OpenID provider does not answer")
            words = f"{error}. Nothing was decided; drctl approve and drctl reject need no provider."
            return Response(503, "Signing in does not work now", words)

    def who(self, event: Mapping[str, Any], signer: LinkSigner, now: datetime) -> Identity | None:
        """Whom the browser's session names; None if nobody is signed in, or not any more."""
        try:
            found = signer.unseal(_SESSION, cookie_of(event, self._name(_SESSION)), now)
        except BadLinkError:
            return None
        # A session of another provider, or of another client of it, is none here.
        return Identity(found["sub"], found["email"]) if (found["iss"], found["aud"]) == (self.issuer, self.client_id) else None

    # --- there and back ---

    def _begin(self, page: str, query: Mapping[str, str], signer: LinkSigner, now: datetime) -> Response:
        """Send the browser to the provider; only a link of ours begins it."""
        link = query.get("token", "")
        signer.read(link, now)
        verifier, state, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": f"{page}/signed-in",
            "scope": _SCOPES,
            "state": state,
            "nonce": nonce,
            "code_challenge": urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        endpoint = self._provider.authorization_endpoint
        kept = signer.seal(
            _ATTEMPT,
            {"link": link, "state": state, "nonce": nonce, "verifier": verifier},
            now + timedelta(seconds=ATTEMPT_SECONDS),
        )
        location = f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"
        return Response(302, "Sign in", location=location, cookies=(self._cookie(_ATTEMPT, kept, ATTEMPT_SECONDS, page),))

    def _end(self, page: str, query: Mapping[str, str], kept: str, signer: LinkSigner, now: datetime) -> Response:
        """The browser comes back: whoever the provider names is signed in, and sees the page again."""
        try:
            attempt = signer.unseal(_ATTEMPT, kept, now)
        except BadLinkError:
            raise NotSignedInError("this browser has not begun to sign in, or too long ago: open the link again") from None
        if not compare_digest(query.get("state", "").encode(), attempt["state"].encode()):
            raise NotSignedInError("this is not what this browser was sent for: open the link again")
        if "code" not in query:
            raise NotSignedInError(f"the provider says {_plain(query.get('error', 'nothing'))}: open the link again")
        identity = self._identity(query["code"], attempt["verifier"], f"{page}/signed-in", attempt["nonce"], now)
        body = {"sub": identity.subject, "email": identity.email, "iss": self.issuer, "aud": self.client_id}
        session = signer.seal(_SESSION, body, now + timedelta(seconds=SESSION_SECONDS))
        logger.info("signed in", extra={"subject": identity.subject})
        cookies = (self._cookie(_SESSION, session, SESSION_SECONDS, page), self._cookie(_ATTEMPT, "", 0, page))
        return Response(302, "You are signed in", location=f"{page}/?token={quote(attempt['link'])}", cookies=cookies)

    def _identity(self, code: str, verifier: str, redirect_uri: str, nonce: str, now: datetime) -> Identity:
        sent = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
        headers, secret = {"Accept": "application/json"}, self.client_secret()
        if secret:  # RFC 6749, section 2.3.1
            pair = f"{quote(self.client_id, safe='')}:{quote(secret, safe='')}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            sent["client_id"] = self.client_id
        answer = self._ask("POST", self._provider.token_endpoint, sent, headers)
        try:
            return self._checked(_Tokens.model_validate(answer).id_token, nonce, now)
        except ValidationError as error:
            raise NotSignedInError("the provider did not take the code: open the link again") from error

    def _checked(self, id_token: str, nonce: str, now: datetime) -> Identity:
        """Whom the ID token names. Its signature is the provider's, it is for us, for this attempt, and of now."""
        from joserfc import jwk, jwt  # only who signs in waits for it
        from joserfc.errors import JoseError

        wanted = {"iss": self.issuer, "aud": self.client_id, "nonce": nonce}
        options: dict[str, jwt.ClaimsOption] = {name: {"essential": True} for name in ("sub", "exp", "iat")}
        options |= {name: {"essential": True, "value": value} for name, value in wanted.items()}
        registry = jwt.JWTClaimsRegistry(now=int(now.timestamp()), leeway=_LEEWAY_SECONDS, **options)
        try:
            keys = jwk.KeySet.import_key_set(self._ask("GET", self._provider.jwks_uri))
            token = jwt.decode(id_token, keys, algorithms=list(_ALGORITHMS))
            registry.validate(token.claims)
            claims = _Claims.model_validate(token.claims)
        except (JoseError, ValidationError, ValueError, KeyError, TypeError) as error:
            logger.warning("ID token refused", extra={"error_type": type(error).__name__, "error": _plain(str(error))})
            raise NotSignedInError("what the provider sent does not say who you are: open the link again") from error
        others = isinstance(claims.aud, list) and len(claims.aud) > 1
        if (others or claims.azp) and claims.azp != self.client_id:
            raise NotSignedInError("what the provider sent is for somebody else: open the link again")
        return Identity(claims.sub, claims.email if claims.email_verified else "")

    # --- the provider ---

    @cached_property
    def _provider(self) -> _Provider:
        found = self._ask("GET", f"{_secure(self.issuer).rstrip('/')}/.well-known/openid-configuration")
        try:
            provider = _Provider.model_validate(found)
        except ValidationError as error:
            raise ProviderError(f"the provider at {self.issuer} does not describe itself as OpenID Connect has it") from error
        if provider.issuer != self.issuer:
            raise ProviderError(f"the provider at {self.issuer} says that it is {_plain(provider.issuer)}")
        return provider

    def _ask(self, method: str, url: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON that the provider answers; an OAuth error too."""
        body = urlencode(form).encode() if form is not None else None
        sent = {**(headers or {}), **({"Content-Type": "application/x-www-form-urlencoded"} if form is not None else {})}
        try:
            answer = _http().request(method, url, body=body, headers=sent, redirect=False)
            if answer.status not in (200, 400, 401):
                raise ProviderError(f"the provider at {self.issuer} answers {answer.status}")
            return json.loads(answer.data)
        except (HTTPError, ValueError) as error:
            raise ProviderError(f"the provider at {self.issuer} does not answer as it should") from error

    # --- cookies ---

    def _name(self, cookie: str) -> str:
        """With the prefix a browser takes it only over HTTPS, from this very host: RFC 6265bis, section 4.1.3."""
        return cookie if self.page_url.startswith("http://") else f"__Host-{cookie}"

    def _cookie(self, cookie: str, value: str, seconds: int, page: str) -> str:
        """As Set-Cookie has it. Lax: the browser comes back from another site."""
        secure = "" if page.startswith("http://") else "; Secure"
        return f"{self._name(cookie)}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}"


def _plain(text: str) -> str:
    return "".join(char if " " <= char <= "~" else "?" for char in text)[:200]


@cache
def _http() -> PoolManager:
    return PoolManager(timeout=Timeout(connect=3.0, read=5.0), retries=False)


@cache
def _secret() -> Secret:
    return Secret(setting("OIDC_SECRET_ARN"))


@cache
def sign_in() -> SignIn:
    """The client that the function's environment names."""

    def client_secret() -> str:
        return OidcSecret.model_validate_json(_secret().text()).client_secret

    return SignIn(setting("OIDC_ISSUER"), setting("OIDC_CLIENT_ID"), client_secret, optional("APPROVAL_PAGE_URL"))
