"""Where alerts are told in tests: a real mail server and a real HTTP server, that keep what they get, or misbehave."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.services.child import free_port


class MailServer:
    """`answer` is what it says to each message; `refused` recipients are refused. `password`: log-ins are needed."""

    def __init__(self, password: str = "") -> None:
        self.mails: list[EmailMessage] = []
        self.answer = "250 OK"
        self.refused: set[str] = set()
        self.encrypted: list[bool] = []
        self.password = password
        self.url = ""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Envelope, address: str, options: Any) -> str:  # noqa: N802
        if address in self.refused:
            return "550 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.answer.startswith("2"):
            mail = message_from_bytes(envelope.content or b"", policy=default)  # type: ignore[arg-type]
            assert isinstance(mail, EmailMessage)
            self.mails.append(mail)
            self.encrypted.append(session.ssl is not None)
        return self.answer

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, auth_data: Any) -> AuthResult:
        assert isinstance(auth_data, LoginPassword)
        return AuthResult(success=auth_data.password.decode() == self.password, handled=False)


@contextmanager
def mail_server(password: str = "", tls: ssl.SSLContext | None = None) -> Iterator[MailServer]:
    """On a free port of this machine; `tls`: it offers STARTTLS."""
    server = MailServer(password)
    options: dict[str, Any] = {"tls_context": tls}
    if password:
        options |= {"authenticator": server.authenticate, "auth_required": True, "auth_require_tls": False}
    warnings.filterwarnings("ignore", "Requiring AUTH while not requiring TLS")
    controller = Controller(server, hostname="127.0.0.1", port=free_port(), ready_timeout=60.0, **options)
    controller.start()
    try:
        server.url = f"127.0.0.1:{controller.port}"
        yield server
    finally:
        controller.stop()


class WebServer:
    """`status` is its answer; a request waits while `hold` is clear."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        self.heads: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.status = 200
        self.hold = threading.Event()
        self.hold.set()
        self.url = ""


@contextmanager
def web_server() -> Iterator[WebServer]:
    server = WebServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.hold.wait(30)
            server.paths.append(self.path)
            server.heads.append(dict(self.headers))
            if 200 <= server.status < 300:
                server.posts.append(json.loads(body))
            self.send_response(server.status)
            if 300 <= server.status < 400:
                self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        server.url = f"http://127.0.0.1:{http.server_port}"
        try:
            yield server
        finally:
            server.hold.set()
            http.shutdown()
            thread.join()


@contextmanager
def silent_server(drip: Callable[[socket.socket], object] | None = None) -> Iterator[int]:
    """The port of one that takes connections and says nothing, or what `drip` sends."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)

        def accept() -> None:
            taken: list[socket.socket] = []
            while not ended.is_set():
                try:
                    taken.append(listening.accept()[0])
                except TimeoutError:
                    continue
                if drip is not None:
                    drip(taken[-1])
            for each in taken:
                each.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            ended.set()
            thread.join()
