"""Each alert's beginning and end reach each sink once, whatever happens on the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests import engines
from tests.mirror_drive import TestClock
from tests.services.child import free_port
from tests.services.told import MailServer, WebServer, mail_server, web_server
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.errors import ConfigurationError
from vfs.operations import alerts, telling
from vfs.operations.alerts import AlertKind
from vfs.settings import Alerts


class Told:
    """A drive whose alerts go to a mail server and a web server."""

    def __init__(self, kelp: Kelp, clock: TestClock, mail: MailServer, web: WebServer) -> None:
        self.kelp, self.clock, self.mail, self.web = kelp, clock, mail, web

    def begin(self, kind: AlertKind = AlertKind.NAS_DOWN, message: str = "gone") -> None:
        alerts.open_(self.kelp, kind, message)

    def end(self, kind: AlertKind = AlertKind.NAS_DOWN) -> None:
        alerts.close(self.kelp, kind, "back")

    def tell(self, after: float = 11.0) -> int:
        self.clock.advance(after)
        return telling.tell(self.kelp).count

    @property
    def posts(self) -> list[tuple[str, str]]:
        return [(post["kind"], post["event"]) for post in self.web.posts]

    @property
    def subjects(self) -> list[str]:
        return [str(mail["Subject"]).removeprefix("[Kelp] ") for mail in self.mail.mails]

    def with_sinks(self, **settings: object) -> Kelp:
        changed = replace(self.kelp.settings.alerts, **settings)  # type: ignore[arg-type]
        return replace(self.kelp, settings=replace(self.kelp.settings, alerts=changed))


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    with ExitStack() as undo:
        mail, web = undo.enter_context(mail_server()), undo.enter_context(web_server())
        overrides = {
            "alerts_mail_to": "admin@example.org",
            "alerts_smtp": f"smtp://{mail.url}",
            "alerts_webhook": web.url,
        }
        undo.callback(engines.drop_below, tmp_path)
        clock = TestClock()
        kelp = build(engines.load(tmp_path / "data", nas_root=tmp_path / "nas", **overrides), clock=clock)
        undo.callback(kelp.close)
        yield Told(kelp, clock, mail, web)


def test_the_beginning_and_the_end_are_told_once(told: Told) -> None:
    told.begin()
    assert told.tell() == 1
    told.begin()  # again, while it is open: counted
    assert told.tell() == 0
    told.end()
    assert told.tell() == 1 and told.tell() == 0
    assert told.posts == [("NAS_DOWN", "begin"), ("NAS_DOWN", "end")]
    assert told.subjects == ["NAS_DOWN: gone", "NAS_DOWN is over: back"]


def test_what_is_over_before_it_was_told_is_one_message(told: Told) -> None:
    told.begin()
    told.clock.advance(5)
    told.end()
    assert told.tell() == 1
    assert told.posts == [("NAS_DOWN", "both")] and told.subjects == ["NAS_DOWN came and is over: back"]


def test_what_comes_together_is_one_mail(told: Told) -> None:
    for kind in (AlertKind.NAS_DOWN, AlertKind.CACHE_AWAY, AlertKind.QUEUE_AWAY):
        told.begin(kind)
    assert told.tell(after=1.0) == 0, "others may follow"
    assert told.tell() == 3
    assert told.subjects == ["3 messages: CACHE_AWAY, NAS_DOWN, QUEUE_AWAY"] and len(told.posts) == 3


def test_a_sink_that_fails_is_tried_again_with_growing_pauses_and_the_other_is_not_told_twice(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    told.mail.answer = "451 later"
    told.begin()
    told.tell()
    assert len(told.posts) == 1 and told.subjects == []
    pauses = []
    for _ in range(16):
        with told.kelp.database.read() as tx:
            pauses.append((tx.one("SELECT next_ns FROM alerts")[0] - told.clock.now_ns()) / 1e9)
        assert told.tell(after=pauses[-1] - 1.0) == 0
        told.tell(after=2.0)
    assert [round(pause) for pause in pauses[:4]] == [30, 60, 120, 240] and round(pauses[-1]) == 86_400
    assert (
        len(
            [
                record
                for record in caplog.records
                if "cannot be told" in record.message and record.levelname == "WARNING"
            ]
        )
        == 1
    )
    told.mail.answer = "250 OK"
    assert told.tell(after=86_401) == 1
    assert len(told.posts) == 1 and told.subjects == ["NAS_DOWN: gone"]


def test_the_end_does_not_wait_longer_and_what_waits_goes_with_the_next_news(told: Told) -> None:
    told.mail.answer = "451 later"
    told.begin()
    for _ in range(12):
        told.tell(after=86_401)
    told.mail.answer = "250 OK"
    assert told.tell(after=600) == 0
    told.begin(AlertKind.CACHE_AWAY)
    assert told.tell() == 1
    assert told.tell(after=1.0) == 1
    assert told.subjects == ["CACHE_AWAY: gone", "NAS_DOWN: gone"]
    assert told.posts == [("NAS_DOWN", "begin"), ("CACHE_AWAY", "begin")]


def test_an_end_that_comes_while_the_beginning_is_sent_is_told_after_it(told: Told) -> None:
    told.begin()
    told.web.hold.clear()
    sending = threading.Thread(target=told.tell)
    sending.start()
    while not told.mail.mails:
        pass
    told.end()
    assert telling.tell(told.kelp).count == 0 and told.tell() == 0, "somebody is at it"
    told.web.hold.set()
    sending.join()
    assert told.tell() == 1
    assert told.posts == [("NAS_DOWN", "begin"), ("NAS_DOWN", "end")] and len(told.subjects) == 2


def test_of_a_process_that_died_in_it_another_tells_it_later(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    told.begin()
    with monkeypatch.context() as patched:
        patched.setattr(telling, "_tell", _die)
        with pytest.raises(KeyboardInterrupt):
            told.tell()
    assert told.tell(after=200) == 0 and told.tell(after=200) == 1
    assert told.posts == [("NAS_DOWN", "begin")]


def _die(*_: object) -> int:
    raise KeyboardInterrupt


def test_many_processes_tell_each_once(told: Told) -> None:
    for kind in AlertKind:
        told.begin(kind)
    told.clock.advance(11)
    with nodes(told, 4) as others:
        threads = [threading.Thread(target=telling.tell, args=(other,)) for other in others]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(told.posts) == sorted((kind.value, "begin") for kind in AlertKind)
    assert sum(len(kind) > 0 for mail in told.mail.mails for kind in mail.get_content().split("  id ")[1:]) == len(
        AlertKind
    )


@contextmanager
def nodes(told: Told, count: int) -> Iterator[list[Kelp]]:
    with ExitStack() as undo:
        opened = [build(told.kelp.settings, clock=told.clock) for _ in range(count)]
        for each in opened:
            undo.callback(each.close)
        yield opened


def test_a_sink_that_is_no_longer_there_holds_nothing_up(told: Told) -> None:
    told.begin()
    told.clock.advance(11)
    kelp = told.with_sinks(mail_to=())
    assert telling.tell(kelp).count == 1 and told.posts == [("NAS_DOWN", "begin")] and told.subjects == []
    assert telling.tell(told.kelp).count == 0


def test_nothing_to_tell_commits_nothing(told: Told) -> None:
    told.begin()
    told.tell()
    before = told.kelp.database.version()
    assert told.tell() == 0 and told.kelp.database.version() == before


def test_the_test_message_goes_to_every_sink(told: Told) -> None:
    assert telling.test(told.kelp) == [("mail", "admin@example.org", ""), ("webhook", "127.0.0.1", "")]
    assert told.posts == [("TEST", "test")] and len(told.subjects) == 1
    broken = told.with_sinks(webhook=f"http://127.0.0.1:{free_port()}/secret")
    assert "refused" in telling.test(broken)[1][2].lower() and "secret" not in repr(telling.test(broken))


def test_without_sinks_there_is_nothing_to_tell(told: Told) -> None:
    kelp = replace(told.kelp, settings=replace(told.kelp.settings, alerts=Alerts()))
    alerts.open_(kelp, AlertKind.CACHE_AWAY, "x")
    assert told.tell() == 0 and telling.test(kelp) == []


def test_what_is_closed_by_hand_is_told_and_may_be_raised_anew(told: Told) -> None:
    told.begin()
    told.tell()
    alerts.close_one(told.kelp, alerts.listing(told.kelp)[0].uuid, "by hand")
    told.begin()
    assert told.tell() == 2
    assert sorted(told.posts) == [("NAS_DOWN", "begin"), ("NAS_DOWN", "begin"), ("NAS_DOWN", "end")]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (Alerts(webhook="ftp://s3cret@host/x"), "alerts.webhook"),
        (Alerts(webhook="http://host:s3cret/"), "alerts.webhook"),
        (Alerts(webhook="https:///s3cret"), "alerts.webhook"),
        (Alerts(mail_to=("a@example.org",), smtp="http://s3cret@host"), "alerts.smtp"),
        (Alerts(mail_to=("a@example.org",), smtp="smtp://host:s3cret"), "alerts.smtp"),
    ],
)
def test_what_can_never_be_told_is_refused_at_the_start(wrong: Alerts, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named) as refused:
        telling.check(wrong)
    assert "s3cret" not in str(refused.value)


def test_what_may_be_told_is_not_asked_at_the_start() -> None:
    """Nobody need be there yet; and what nobody is told by may be anything."""
    telling.check(Alerts())
    telling.check(Alerts(smtp="nothing"))
    telling.check(Alerts(webhook="https://nobody.invalid/hook", mail_to=("a@example.org",)))
    telling.check(Alerts(mail_to=("a@example.org",), smtp=f"smtps://user:word@127.0.0.1:{free_port()}"))
