"""Mail and webhook against real servers: what arrives, and what is said when it does not; never a secret."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.services.child import free_port
from tests.services.told import mail_server, silent_server, web_server
from vfs.crypto import certificates
from vfs.settings import Alerts
from vfs.sinks import notice as notices
from vfs.sinks.mail import MailSink
from vfs.sinks.notice import Notice, Untold
from vfs.sinks.webhook import WebhookSink

BEGIN = Notice(
    "begin", "7f0c", "NAS_DOWN", "", "error", "größer \N{SNOWMAN}: 3 changes wait", 2, 1_700_000_000_000_000_000, None
)
END = replace(BEGIN, what="end", closed_ns=1_700_000_060_000_000_000, message="back after 60 s")
SECRET = "s3cret-word"


def mail(smtp: str, *to: str) -> MailSink:
    return MailSink(Alerts(mail_to=to or ("admin@example.org",), mail_from="kelp@example.org", smtp=smtp))


def hook(url: str) -> WebhookSink:
    return WebhookSink(Alerts(webhook=url))


def why(sink: MailSink | WebhookSink) -> str:
    """Why it could not be told."""
    with pytest.raises(Untold) as caught:
        sink.send([BEGIN])
    text = str(caught.value)
    assert "\n" not in text and SECRET not in text
    return text


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vfs.sinks.mail.SECONDS", 0.3)
    monkeypatch.setattr("vfs.sinks.webhook.SECONDS", 0.3)


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    """Of a server whose certificate nobody vouches for."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for file, data in zip((cert, key), certificates.make_self_signed(["127.0.0.1"], datetime.now(UTC)), strict=True):
        file.write_bytes(data)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


# --- mail ---


def test_one_mail_holds_all(tmp_path: Path) -> None:
    with mail_server() as server:
        mail(f"smtp://{server.url}", "a@example.org", "b@example.org").send([BEGIN, END])
        mail(f"smtp://{server.url}").send([BEGIN])
    both, one = server.mails
    assert both["To"] == "a@example.org, b@example.org" and both["From"] == "kelp@example.org"
    assert both["Subject"] == "[Kelp] 2 messages: NAS_DOWN" and both["Auto-Submitted"] == "auto-generated"
    assert one["Subject"] == f"[Kelp] NAS_DOWN: {BEGIN.message}"
    body = both.get_content()
    assert "NAS_DOWN is over: back after 60 s" in body and "until 2023-11-14T22:14:20Z" in body
    assert BEGIN.message in body and "2 times so far" in body


def test_hundreds_are_counted() -> None:
    with mail_server() as server:
        mail(f"smtp://{server.url}").send([BEGIN] * 350)
    assert "and 250 more" in server.mails[0].get_content()


def test_a_message_cannot_add_headers() -> None:
    evil = replace(BEGIN, message="x\r\nBcc: all@example.org\r\n\r\nbody")
    with mail_server() as server:
        mail(f"smtp://{server.url}").send([evil])
    assert server.mails[0]["Bcc"] is None and server.mails[0].get("Subject", "").startswith("[Kelp] NAS_DOWN: x")


def test_starttls_is_used_where_it_is_offered(tls: ssl.SSLContext) -> None:
    with mail_server(tls=tls) as server:
        mail(f"smtp://{server.url}").send([BEGIN])
    assert server.encrypted == [True]


def test_a_password_needs_a_good_certificate(tls: ssl.SSLContext) -> None:
    with mail_server(SECRET, tls) as server:
        text = why(mail(f"smtp://kelp:{SECRET}@{server.url}"))
    assert "no safe line" in text and "CERTIFICATE_VERIFY_FAILED" in text and server.mails == []


def test_a_password_goes_to_this_machine_without_encryption() -> None:
    with mail_server("p@ss word") as server:
        mail(f"smtp://kelp:p%40ss%20word@{server.url}").send([BEGIN])
        assert len(server.mails) == 1
        assert "535" in why(mail(f"smtp://kelp:{SECRET}@{server.url}"))


def test_a_password_does_not_leave_this_machine_unencrypted() -> None:
    address = socket.gethostbyname(socket.gethostname())
    if address.startswith("127."):
        pytest.skip("this machine has no address but the loopback's")
    with mail_server(SECRET) as server, _forwarded(address, int(server.url.rpartition(":")[2])) as port:
        assert "no encryption" in why(mail(f"smtp://kelp:{SECRET}@{address}:{port}"))


@contextlib.contextmanager
def _forwarded(address: str, port: int) -> Iterator[int]:
    """A port at `address` whose one connection is the server's."""
    with socket.create_server((address, 0)) as listening:

        def forward() -> None:
            with listening.accept()[0] as here, socket.create_connection(("127.0.0.1", port)) as there:
                back = threading.Thread(target=_copy, args=(there, here), daemon=True)
                back.start()
                _copy(here, there)
                back.join(5)

        thread = threading.Thread(target=forward, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(5)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(4096):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def test_what_a_mail_server_refuses_is_said() -> None:
    with mail_server() as server:
        server.answer = "552 the box is full"
        assert why(mail(f"smtp://{server.url}")) == f"{server.url} says 552 the box is full"
        server.refused = {"a@example.org"}
        assert "nobody of that name" in why(mail(f"smtp://{server.url}", "a@example.org"))
        server.answer = "250 OK"
        mail(f"smtp://{server.url}", "a@example.org", "b@example.org").send([BEGIN])  # one of them got it
    assert len(server.mails) == 1


def test_a_mail_server_that_refuses_hangs_or_speaks_something_else(impatient: None) -> None:
    assert "refused" in why(mail(f"smtp://127.0.0.1:{free_port()}")).lower()
    with silent_server() as port:
        assert "timed out" in why(mail(f"smtp://127.0.0.1:{port}"))
        assert "timed out" in why(mail(f"smtps://127.0.0.1:{port}"))
    with silent_server(lambda taken: taken.sendall(b"HTTP/1.1 400 no\r\n\r\n")) as port:
        why(mail(f"smtp://127.0.0.1:{port}"))


def test_a_server_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """No single answer is late, and all together never end."""
    monkeypatch.setattr(notices, "_ALTOGETHER", 0.5)
    ended = threading.Event()

    def drip(taken: socket.socket) -> None:
        def go_on() -> None:
            with contextlib.suppress(OSError):
                taken.sendall(b"HTTP/1.1 200 OK\r\n")
                while not ended.wait(0.05):
                    taken.sendall(b"x: y\r\n")

        threading.Thread(target=go_on, daemon=True).start()

    with silent_server(drip) as port:
        try:
            why(hook(f"http://127.0.0.1:{port}/"))
        finally:
            ended.set()


@pytest.mark.parametrize(
    "url", [f"http://u:{SECRET}@host", "smtp://", f"smtp://u:{SECRET}@h:port", f"smtp://[{SECRET}"]
)
def test_a_mail_url_that_is_none(url: str) -> None:
    assert "alerts.smtp" in why(mail(url))


def test_a_password_that_smtp_cannot_say_is_not_quoted(tls: ssl.SSLContext) -> None:
    with mail_server("x") as server:
        assert "ASCII" in why(mail(f"smtp://kelp:{SECRET}%C3%A4@{server.url}"))


# --- webhook ---


def test_each_is_one_post_of_json() -> None:
    with web_server() as server:
        hook(f"{server.url}/in/{SECRET}?a=b").send([BEGIN, END])
    first, second = server.posts
    assert server.paths == [f"/in/{SECRET}?a=b"] * 2 and "application/json" in server.heads[0]["Content-Type"]
    assert first["event"] == "begin" and first["message"] == BEGIN.message and first["closedAt"] is None
    assert first["openedAt"] == "2023-11-14T22:13:20Z"
    assert second["event"] == "end" and second["closedAt"] == "2023-11-14T22:14:20Z"


def test_a_log_in_of_the_url_is_sent() -> None:
    with web_server() as server:
        hook(server.url.replace("//", "//kelp:a%20b@")).send([BEGIN])
    assert server.heads[0]["Authorization"] == "Basic a2VscDphIGI="


@pytest.mark.parametrize("status", [302, 404, 500])
def test_an_answer_that_is_no_success(status: int) -> None:
    with web_server() as server:
        server.status = status
        assert why(hook(f"{server.url}/{SECRET}")) == f"127.0.0.1 answered {status}"
    assert len(server.paths) == 1


def test_a_web_server_that_refuses_hangs_or_has_no_name(impatient: None) -> None:
    assert "refused" in why(hook(f"http://127.0.0.1:{free_port()}/{SECRET}")).lower()
    with silent_server() as port:
        assert "timed out" in why(hook(f"http://127.0.0.1:{port}/{SECRET}"))
        assert "timed out" in why(hook(f"https://127.0.0.1:{port}/{SECRET}"))
    with silent_server(lambda taken: taken.sendall(b"220 smtp\r\n")) as port:
        why(hook(f"http://127.0.0.1:{port}/{SECRET}"))
    why(hook(f"http://no-such-host.invalid/{SECRET}"))


@pytest.mark.parametrize(
    "url", [f"ftp://h/{SECRET}", "http://", f"http://h:{SECRET}/", f"http://h/{SECRET} x", f"http://h/{SECRET}ä"]
)
def test_a_webhook_that_is_none(url: str) -> None:
    assert "alerts.webhook" in why(hook(url))
    assert SECRET not in hook(url).target
