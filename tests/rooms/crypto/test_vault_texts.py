"""Sealed names and texts, and wrapped keys: bound to where they belong, found when anything of them changes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nasty_names import NASTY_NAMES
from vfs import names
from vfs.crypto import base64url, vault_keys
from vfs.crypto.sealed_names import open_name, seal_key, seal_name
from vfs.crypto.sealed_texts import MAX_TEXT_BYTES, Text, open_text, seal_text
from vfs.crypto.vault_keys import VaultKey
from vfs.errors import ContentCorrupt, InvalidName, InvalidRequest, NameTooLong, TooLarge

KEY, OTHER = VaultKey.generate(), VaultKey.generate()
HERE, THERE = vault_keys.new_id(), vault_keys.new_id()
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


def is_name(text: str) -> bool:
    try:
        return bool(names.check_segment(text))
    except InvalidName:
        return False


@pytest.mark.parametrize("name", [name for name in NASTY_NAMES if is_name(name)])
def test_nasty_names_come_back(name: str) -> None:
    assert open_name(KEY, HERE, seal_name(KEY, HERE, name)) == name


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), min_size=1, max_size=60).filter(is_name))
def test_names_come_back_and_are_found_by_their_sealed_form(name: str) -> None:
    sealed = seal_name(KEY, HERE, name)
    assert open_name(KEY, HERE, sealed) == name
    assert sealed == seal_name(KEY, HERE, name)
    assert len({sealed, seal_name(KEY, THERE, name), seal_name(OTHER, HERE, name), seal_key(KEY, HERE, name)}) == 4
    assert name not in sealed or len(name) < 4


@settings(deadline=None)
@given(texts, st.sampled_from(Text))
def test_texts_come_back_and_do_not_look_equal(text: str, purpose: Text) -> None:
    sealed = seal_text(KEY, purpose, HERE, text)
    assert open_text(KEY, purpose, HERE, sealed) == text
    assert sealed != seal_text(KEY, purpose, HERE, text)


def test_every_change_of_a_name_is_found() -> None:
    sealed = seal_name(KEY, HERE, "Papers")
    for at in range(len(sealed)):
        for character in ALPHABET:
            changed = sealed[:at] + character + sealed[at + 1 :]
            if changed != sealed:
                with pytest.raises(ContentCorrupt, match=HERE.hex()):
                    open_name(KEY, HERE, changed)


def test_every_change_of_a_text_is_found() -> None:
    sealed = seal_text(KEY, Text.LOCK_OWNER, HERE, "Åsa")
    for at in range(len(sealed)):
        for character in ALPHABET:
            changed = sealed[:at] + character + sealed[at + 1 :]
            if changed != sealed:
                with pytest.raises(ContentCorrupt, match=f"lock-owner of {HERE.hex()}"):
                    open_text(KEY, Text.LOCK_OWNER, HERE, changed)


@pytest.mark.parametrize("form", ["", "A", "=", "{}=", "{}A", "{}\n", " {}", "{}é", "{}{}"])
def test_other_forms_of_a_sealed_text_are_refused(form: str) -> None:
    for sealed in (seal_name(KEY, HERE, "x"), seal_text(KEY, Text.TYPE, HERE, "x")):
        with pytest.raises(ContentCorrupt):
            open_name(KEY, HERE, form.format(sealed, sealed))
        with pytest.raises(ContentCorrupt):
            open_text(KEY, Text.TYPE, HERE, form.format(sealed, sealed))


def test_what_is_sealed_for_one_place_does_not_open_in_another() -> None:
    name, text = seal_name(KEY, HERE, "x"), seal_text(KEY, Text.TYPE, HERE, "x")
    for key, place in ((KEY, THERE), (OTHER, HERE), (VaultKey(KEY.vault_id, 2, OTHER.secret), HERE)):
        with pytest.raises(ContentCorrupt):
            open_name(key, place, name)
        with pytest.raises(ContentCorrupt):
            open_text(key, Text.TYPE, place, text)
    for purpose in set(Text) - {Text.TYPE}:
        with pytest.raises(ContentCorrupt):
            open_text(KEY, purpose, HERE, text)
    with pytest.raises(ContentCorrupt):
        open_name(KEY, HERE, seal_key(KEY, HERE, "x"))
    with pytest.raises(ContentCorrupt):
        open_name(VaultKey(OTHER.vault_id, 1, KEY.secret), HERE, name)  # the same secret in another vault


@pytest.mark.parametrize("plain", [b"", b"..", b"a/b", b"\xff", b"\x00", b"a" * 256, "a\u0085".encode()])
def test_what_is_sealed_well_but_no_name_is_refused(plain: bytes) -> None:
    """Who has the key may not lead a reader out of its folder."""
    with pytest.raises(ContentCorrupt):
        open_name(KEY, HERE, base64url.encode(KEY.names.encrypt(plain, [b"name", HERE])))


@pytest.mark.parametrize("plain", [b"", b"x", b"\x01\xff", b"\x00x"])
def test_what_is_sealed_well_but_no_text_is_refused(plain: bytes) -> None:
    salt = bytes(16)
    with pytest.raises(ContentCorrupt):
        open_text(KEY, Text.TYPE, HERE, base64url.encode(salt + KEY.texts.encrypt(plain, [b"type", HERE, salt])))


def test_limits_of_names_and_texts() -> None:
    assert open_name(KEY, HERE, seal_name(KEY, HERE, "n" * 255)) == "n" * 255
    assert len(seal_name(KEY, HERE, "n" * 255)) == 362
    with pytest.raises(NameTooLong):
        seal_name(KEY, HERE, "n" * 256)
    for wrong in ("", "..", "a/b", "a\0", "\ud800"):
        with pytest.raises(InvalidName):
            seal_name(KEY, HERE, wrong)
    assert seal_key(KEY, HERE, names.key("\u0390" * 127, case_sensitive=False))  # folds to three times its length
    with pytest.raises(NameTooLong):
        seal_key(KEY, HERE, "n" * 2049)
    with pytest.raises(InvalidRequest):
        seal_text(KEY, Text.TYPE, HERE, "\ud800")
    with pytest.raises(TooLarge):
        seal_text(KEY, Text.TYPE, HERE, "n" * (MAX_TEXT_BYTES + 1))
    for wrong_id in (b"", HERE[:-1], HERE + b"x"):
        with pytest.raises(ValueError):
            seal_name(KEY, wrong_id, "x")
        with pytest.raises(ValueError):
            open_name(KEY, wrong_id, "x")
        with pytest.raises(ValueError):
            seal_text(KEY, Text.TYPE, wrong_id, "x")


def test_wrapped_keys_open_for_their_content_only() -> None:
    content_key = vault_keys.new_content_key()
    wrapped = KEY.wrap_content_key(HERE, content_key)
    assert len(wrapped) == 48
    assert KEY.unwrap_content_key(HERE, wrapped) == content_key
    for key, content in ((KEY, THERE), (OTHER, HERE)):
        with pytest.raises(ContentCorrupt):
            key.unwrap_content_key(content, wrapped)
    for bit in range(len(wrapped) * 8):
        changed = bytearray(wrapped)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ContentCorrupt, match=f"content {HERE.hex()}"):
            KEY.unwrap_content_key(HERE, bytes(changed))
    for wrong in (b"", wrapped[:-1], wrapped + b"x", wrapped * 2):
        with pytest.raises(ContentCorrupt):
            KEY.unwrap_content_key(HERE, wrong)
    with pytest.raises(ValueError):
        KEY.wrap_content_key(HERE, b"short")


def test_older_keys_open_by_newer_ones() -> None:
    newer = VaultKey.generate(KEY.vault_id, 3)
    wrapped = newer.wrap_older(KEY)
    assert newer.unwrap_older(1, wrapped) == KEY
    for key, generation, data in (
        (newer, 2, wrapped),
        (newer, 3, wrapped),
        (newer, 1, wrapped[:-1]),
        (KEY, 1, wrapped),
    ):
        with pytest.raises(ContentCorrupt):
            key.unwrap_older(generation, data)
    with pytest.raises(ContentCorrupt):
        VaultKey.generate(KEY.vault_id, 3).unwrap_older(1, wrapped)
    for older in (newer, OTHER):
        with pytest.raises(ValueError):
            newer.wrap_older(older)


def test_a_key_is_checked_and_does_not_show() -> None:
    for vault_id, generation, secret in (
        (b"x", 1, bytes(32)),
        (HERE, 0, bytes(32)),
        (HERE, 2**32, bytes(32)),
        (HERE, 1, b""),
    ):
        with pytest.raises(ValueError):
            VaultKey(vault_id, generation, secret)
    assert str(KEY.secret) not in repr(KEY) and KEY.secret.hex() not in repr(KEY)
    assert VaultKey(KEY.vault_id, 1, KEY.secret) == KEY


def test_threads_share_one_key() -> None:
    key = VaultKey.generate()  # its ciphers are made by whoever comes first

    def work(number: int) -> bool:
        name, good = f"name {number}", True
        for turn in range(300):
            good &= open_name(key, HERE, seal_name(key, HERE, name)) == name
            good &= open_text(key, Text.TYPE, HERE, seal_text(key, Text.TYPE, HERE, name * turn)) == name * turn
        return good

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_texts_that_shall_be_found_look_equal_and_open_as_all_do() -> None:
    sealed = seal_text(KEY, Text.PROPERTY_NAME, HERE, "{urn:x}é", fixed=True)
    assert sealed == seal_text(KEY, Text.PROPERTY_NAME, HERE, "{urn:x}é", fixed=True)
    assert open_text(KEY, Text.PROPERTY_NAME, HERE, sealed) == "{urn:x}é"
    others = [(KEY, Text.PROPERTY_NAME, THERE), (OTHER, Text.PROPERTY_NAME, HERE), (KEY, Text.PROPERTY_VALUE, HERE)]
    assert sealed not in [seal_text(*other, "{urn:x}é", fixed=True) for other in others]
