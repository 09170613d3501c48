"""Alerts by e-mail: one message for all that is to be told at a time.

The URL is smtp://[user:password@]host[:port] or smtps://…. STARTTLS is used where the server offers it; with a password
the line must be encrypted and the certificate good, unless the server is this machine.
"""

from __future__ import annotations

import logging
import smtplib
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid
from urllib.parse import unquote, urlsplit

from vfs.settings import Alerts
from vfs.sinks.notice import SECONDS, Notice, Untold, in_time, one_line, time_in_words

log = logging.getLogger(__name__)

_LISTED = 100  # notices with all they say; more are counted
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class _Server:
    host: str
    port: int
    encrypted: bool
    user: str
    password: str

    @classmethod
    def parse(cls, url: str) -> _Server:
        """Raises Untold."""
        try:
            found = urlsplit(url)
            port = found.port
        except ValueError:
            raise Untold("alerts.smtp is no URL") from None  # not quoted: it has a password
        if found.scheme not in ("smtp", "smtps") or not found.hostname:
            raise Untold("alerts.smtp must be smtp://[user:password@]host[:port] or smtps://…")
        encrypted = found.scheme == "smtps"
        user = unquote(found.username or "")
        usual = 465 if encrypted else 587 if user else 25
        return cls(found.hostname, port or usual, encrypted, user, unquote(found.password or ""))


class MailSink:
    name = "mail"
    at_once = 1000

    def __init__(self, settings: Alerts) -> None:
        self._settings = settings

    @property
    def target(self) -> str:
        return ", ".join(self._settings.mail_to)

    def check(self) -> None:
        self._server()

    def _server(self) -> _Server:
        return _Server.parse(self._settings.smtp or "smtp://localhost")

    def send(self, notices: Sequence[Notice]) -> None:
        server = self._server()
        where = f"{server.host}:{server.port}"
        try:
            message = _message(notices, self._settings.mail_from, self._settings.mail_to)
            in_time(lambda: _deliver(server, message))
        except smtplib.SMTPRecipientsRefused as error:
            refused = "; ".join(f"{who}: {one_line(_text(why[1]))}" for who, why in error.recipients.items())
            raise Untold(f"{where} takes no mail for anybody: {refused}") from None
        except smtplib.SMTPResponseException as error:
            raise Untold(f"{where} says {error.smtp_code} {one_line(_text(error.smtp_error))}") from None
        except ssl.SSLError as error:
            raise Untold(f"no safe line to {where}: {one_line(error.reason or error)}") from None
        except UnicodeError:  # its text may quote the password
            raise Untold(f"{where}: user and password must be ASCII") from None
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise Untold(f"{where}: {one_line(error) or type(error).__name__}") from None


def _deliver(server: _Server, message: EmailMessage) -> None:
    checked = ssl.create_default_context()
    connection: smtplib.SMTP
    if server.encrypted:
        connection = smtplib.SMTP_SSL(server.host, server.port, timeout=SECONDS, context=checked)
    else:
        connection = smtplib.SMTP(server.host, server.port, timeout=SECONDS)
    with connection:
        connection.ehlo_or_helo_if_needed()
        if not server.encrypted and connection.has_extn("starttls"):
            # Without a password, a certificate that nobody vouches for is still better than none.
            connection.starttls(context=checked if server.user else ssl._create_unverified_context())
            connection.ehlo()
        if server.user:
            if not isinstance(connection.sock, ssl.SSLSocket) and server.host not in _LOOPBACK:
                raise Untold(f"{server.host} offers no encryption, and the password does not go there without")
            connection.login(server.user, server.password)
        for who, why in connection.send_message(message).items():  # others did get it
            log.warning("%s takes no mail for %s: %s", server.host, who, one_line(_text(why[1])))


def _message(notices: Sequence[Notice], sender: str, recipients: Sequence[str]) -> EmailMessage:
    """Raises ValueError for addresses that are none."""
    message = EmailMessage(policy=SMTP)
    host = socket.getfqdn()
    message["From"] = sender or f"kelp@{host}"
    message["To"] = ", ".join(recipients)
    message["Subject"] = _subject(notices)
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=host)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834 §5: nobody's holiday notice comes back
    message.set_content(_body(notices, socket.gethostname()))  # as the webhook and the log name it
    return message


def _subject(notices: Sequence[Notice]) -> str:
    if len(notices) == 1:
        return f"[Kelp] {one_line(notices[0].title, 150)}"
    kinds = ", ".join(sorted({notice.kind for notice in notices}))
    return f"[Kelp] {len(notices)} messages: {one_line(kinds, 150)}"


def _body(notices: Sequence[Notice], host: str) -> str:
    lines: list[str] = []
    for notice in notices[:_LISTED]:
        lines += [notice.title, f"  since {time_in_words(notice.opened_ns)}, {notice.severity}"]
        if notice.closed_ns is not None:
            lines.append(f"  until {time_in_words(notice.closed_ns)}")
        if notice.count > 1:
            lines.append(f"  {notice.count} times so far")
        lines += [f"  id {notice.id}", ""]
    if len(notices) > _LISTED:
        lines += [f"… and {len(notices) - _LISTED} more.", ""]
    return "\n".join([*lines, f"`kelp alerts` on {host} lists what is open."])


def _text(said: bytes | str) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else said
