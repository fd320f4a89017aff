"""What an exception says of a call: how far it came, and the reason in words of ours.

By the names of exception classes, so that no HTTP library has to be imported to know its own."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Final

from runner.llms.exchange import Sign

KINDS: Final[tuple[tuple[Sign, frozenset[str]], ...]] = (
    ("dns", frozenset({"gaierror", "ClientConnectorDNSError"})),
    ("tls", frozenset({"SSLError", "SSLCertVerificationError"})),
    ("reset", frozenset({"ConnectionResetError", "BrokenPipeError", "ConnectionAbortedError"})),
    ("refused", frozenset({"ConnectionRefusedError", "ConnectError"})),
    ("connect_timeout", frozenset({"ConnectTimeout", "PoolTimeout"})),
    ("deadline", frozenset({"TimeoutError", "Timeout", "APITimeoutError", "ReadTimeout", "WriteTimeout"})),
    ("reset", frozenset({"RemoteProtocolError", "LocalProtocolError", "ReadError", "WriteError"})),
    ("not_json", frozenset({"JSONDecodeError", "DecodingError", "UnicodeDecodeError"})),
)
"""The first sign that is found anywhere in the chain wins: LiteLLM wraps a refused connection three times, and the outermost says
"500"."""


def chain(error: BaseException) -> list[BaseException]:
    """The error and all that led to it, by cause and by context, groups opened; the outermost first."""
    found: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop(0)
        if one is None or any(one is known for known in found):
            continue
        found.append(one)
        todo += [one.__cause__, one.__context__, *(one.exceptions if isinstance(one, BaseExceptionGroup) else ())]
    return found


def sign_of(error: BaseException) -> Sign | None:
    """How far the call came; None when no exception of the chain tells."""
    names = kinds_of(error)
    return next((sign for sign, kinds in KINDS if names & kinds), None)


def kinds_of(error: BaseException) -> frozenset[str]:
    """The names of all classes in the chain."""
    return frozenset().union(*map(names_of, chain(error)))


def names_of(error: BaseException) -> frozenset[str]:
    """The names of its class and of those that this comes from."""
    return frozenset(kind.__name__ for kind in type(error).__mro__)


_WORDS: Final[dict[Sign, str]] = {
    "dns": "its name cannot be resolved",
    "refused": "no way leads there",
    "connect_timeout": "no connection in time",
    "deadline": "no answer in time",
    "reset": "it ended the connection, or what it sent is no HTTP",
    "not_json": "the answer is not JSON",
}


def reason(error: BaseException) -> str:
    """Why, without the library's words: these may quote an address, a header or a key."""
    sign = sign_of(error)
    for cause in chain(error) if sign not in ("dns", "deadline") else ():
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"no TLS: {cause.reason or 'the handshake failed'}"
        if (
            isinstance(cause, OSError)
            and not isinstance(cause, socket.gaierror)
            and (cause.errno or 0) in errno.errorcode
        ):
            return os.strerror(cause.errno or 0).lower()
    return _WORDS.get(sign, type(error).__name__) if sign else type(error).__name__
