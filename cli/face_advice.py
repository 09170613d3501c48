"""What to do when a drive does not answer as it should: mostly it is what stands in front of it."""

from __future__ import annotations

import ssl

from cli.face_probe import Reply

SILENT = "something takes the connection and does not answer: `kelp serve`, or the proxy in front of it"
HOST = (
    "the proxy must pass host and scheme on as they came: proxy_set_header Host $http_host and X-Forwarded-Proto "
    "$scheme (nginx), and server.trusted_proxies must name the proxy"
)
CHUNKED = (
    "bodies of unknown length must pass: proxy_http_version 1.1, proxy_request_buffering off (nginx); macOS sends them"
)
LENGTH = "bodies of any length must pass: client_max_body_size 0 (nginx), LimitRequestBody 0 (Apache)"
RANGE = "ranges must pass: no cache and no compression for /dav/ in the proxy"
CONTINUE = "clients wait a second or more before each upload: let the proxy pass Expect, or answer it"
LOCKS = "If and Lock-Token must pass unchanged: no header may be dropped by the proxy"
_PLAIN = (
    "passwords need https: use the https address, and behind a proxy that ends TLS set proxy_set_header "
    "X-Forwarded-Proto $scheme and X-Forwarded-For $remote_addr (nginx), and server.trusted_proxies to its address"
)
_BY_STATUS = {
    401: "wrong user or password; or the proxy takes Authorization away",
    411: CHUNKED,
    413: LENGTH,
    414: "long paths must pass: large_client_header_buffers 4 32k (nginx)",
    417: CONTINUE,
    423: "something holds a lock there: `kelp locks list`",
    429: "too many wrong passwords from here: wait, then try again",
    500: "the log of `kelp serve` tells more",
    501: "something in front does not know this method: all methods of WebDAV must pass",
    502: "the proxy does not reach Kelp: see proxy_pass, and whether `kelp serve` runs",
    503: "Kelp or a part of it is away: see the lines above, and the log of `kelp serve`",
    504: "the proxy gave up waiting: proxy_read_timeout 300s (nginx)",
    507: "cache or NAS are full: make room",
}
_TLS = {
    10: "renew the certificate",
    9: "the certificate is valid only later: is the clock of this machine right?",
    18: "it signed itself: get one from an authority, or let each client trust it",
    19: "its authority is known nowhere: install that one's certificate in clients, or get another",
    20: "the server must send the whole chain (fullchain.pem), or its authority is not known here",
    21: "the server must send the whole chain (fullchain.pem)",
    62: "the name in the URL is not in the certificate: use one that is, or a certificate with this name",
    64: "the address in the URL is not in the certificate: use a name that is",
}


def for_reply(method: str, reply: Reply) -> str:
    """For a status that is not the right one."""
    status = reply.status
    if 300 <= status < 400:
        target = reply.headers.get("location", "")
        return (
            f"clients do not follow it: use that address ({target})" if target else "no redirects: clients stop there"
        )
    if status == 403 and b"over plain HTTP" in reply.body:
        return _PLAIN
    if status in (403, 405):
        return f"something in front blocks {method} (limit_except, a firewall), or this user may not write there"
    if status == 404:
        return "the proxy must pass the whole of / on, with paths as they are (proxy_pass without a path in nginx)"
    if status == 400 and method == "PUT":
        return CHUNKED
    return _BY_STATUS.get(status, "the logs of the proxy and of `kelp serve` tell more")


def for_connection(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _TLS.get(error.verify_code, "clients refuse it: replace the certificate")
    if isinstance(error, ssl.SSLError):
        return "is it http instead of https there, or a port for something else?"
    if isinstance(error, ConnectionRefusedError):
        return "start `kelp serve`, or the proxy; --url names another address"
    if isinstance(error, TimeoutError):
        return "nobody answers there: the address, the firewall?"
    return "is the name right, and known to this machine?"
