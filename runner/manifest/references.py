"""`${NAME}` in config: references to the environment, kept as text and resolved only when their entry is used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, NoReturn
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from runner.errors import InvalidInput
from runner.manifest.base import mistake
from runner.manifest.types import shown
from runner.redact import SENSITIVE, SHORTEST

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_ANY = re.compile(r"\$\{[^}]*\}?")
_METADATA = frozenset({"169.254.169.254", "100.100.100.200", "fd00:ec2::254", "metadata.google.internal", "metadata"})

KEY_PATTERN = r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$"
SECRET_KEYS = frozenset({"github_key", "api_key", "token"})
"""Keys whose value is a secret."""


def names(text: str) -> tuple[str, ...]:
    """The variables that a text refers to, in their order."""
    return tuple(_REFERENCE.findall(text))


def resolve(text: str, env: Mapping[str, str], *, entry: str) -> str:
    """The text with its references filled in. Raises InvalidInput, which names `entry` and the variable, when one is not set."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in env:
            raise InvalidInput(
                f"{entry} needs the environment variable {match[1]}, which is not set", hint=f"export {match[1]}=…"
            )
        return env[match[1]]

    return _REFERENCE.sub(value, text)


def resolve_secret(text: str, env: Mapping[str, str], *, entry: str) -> SecretStr:
    """As `resolve`, for what must be masked. Raises InvalidInput for one that is shorter than 8 characters."""
    for name in names(text):
        value = resolve(f"${{{name}}}", env, entry=entry)
        if len(value) < SHORTEST:
            raise InvalidInput(
                f"{entry}: the secret in {name} is shorter than {SHORTEST} characters, so it cannot be masked",
                hint=f"set {name} to a longer value, or unset it",
            )
    return SecretStr(resolve(text, env, entry=entry))


def _referring(value: str) -> str:
    for found in _ANY.findall(value):
        if not _REFERENCE.fullmatch(found):
            raise mistake("config-env-syntax", f"expected ${{NAME}}, not {shown(found)}")
    return value


def _secret(value: str) -> str:
    _referring(value)
    return value if _REFERENCE.fullmatch(value) else _literal()


def _no_number(value: object) -> object:
    return _literal() if isinstance(value, int | float) and not isinstance(value, bool) else value


def _literal() -> NoReturn:
    """What stands there may be the secret itself: it is not shown."""
    raise mistake(
        "config-secret-literal", "expected a reference to the environment such as ${NAME}, not the secret itself"
    )


def _headers(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if SENSITIVE.search(name) and not names(text):
            raise mistake("config-secret-literal", f"the header {name} holds a secret: write it as ${{NAME}}")
    return value


def check_url(text: str) -> str:
    """A URL as it was written. Refuses (a mistake `config-url`) what is no http URL with a host, and metadata addresses."""
    _referring(text)
    if _REFERENCE.match(text):
        return text  # checked again when it is resolved
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").lower().rstrip(".")
        parts.port  # noqa: B018  raises for a port that is no number
    except ValueError:
        parts, host = SplitResult("", "", "", "", ""), ""
    if parts.scheme not in ("http", "https") or not host:
        said = "a text with a user or password in it" if "@" in text else shown(text)
        raise mistake("config-url", f"expected a URL such as https://host.example/path, not {said}")
    if parts.username is not None or parts.password is not None:
        raise mistake("config-url", "a URL cannot hold a user or password: use headers or a token")
    if host in _METADATA or _is_link_local(host):
        raise mistake("config-url", f"{host} is a metadata address of a cloud")
    return text


def _is_link_local(host: str) -> bool:
    try:
        return ip_address(host).is_link_local
    except ValueError:
        return False


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine."""
    host = (urlsplit(url).hostname or "").lower()
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


EnvText = Annotated[str, AfterValidator(_referring)]
"""Text that may hold `${NAME}`."""
SecretRef = Annotated[
    str, BeforeValidator(_no_number), AfterValidator(_secret), Field(json_schema_extra={"pattern": KEY_PATTERN})
]
"""`${NAME}` and nothing else."""
Headers = Annotated[dict[str, EnvText], AfterValidator(_headers)]
Url = Annotated[str, AfterValidator(check_url), Field(json_schema_extra={"pattern": r"^(https?://|\$\{)"})]
