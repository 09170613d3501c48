"""Makes `vault-1.json` and `vault-1/` beside it: `python -m tests.vectors.make_vault_1`.

They were made once and stay: what they hold must open for ever. Other values come out each time, keys being random.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from itertools import cycle
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.rooms.crypto import independent_reader
from tests.rooms.crypto.vault_folder import Made, VaultFolder
from vfs import names
from vfs.crypto import sealed_names, sealed_texts, vault_keys
from vfs.crypto.manifests import ManifestKind
from vfs.crypto.sealed_texts import Text
from vfs.crypto.vault_keys import VaultKey

HERE = Path(__file__).parent
FRAME = 65_536
NAMES = [
    "a",
    "Übung (1).txt",
    "U\u0308bung.txt",
    "日本語.md",
    'it\'s "quoted" & <b>.doc',
    "n" * 255,
    "é" * 127,
    ".hidden",
]
TEXTS = ["", "text/plain; charset=utf-8", "ÿ", "<owner>Åsa 🐚</owner>", "0123456789abcde", "0123456789abcdef" * 5]


def plain(label: str, length: int) -> bytes:
    return hashlib.shake_128(label.encode()).digest(length)


def main() -> None:
    folder = HERE / "vault-1"
    shutil.rmtree(folder, ignore_errors=True)
    private_key = rsa.generate_private_key(65537, 3072)
    older = VaultKey.generate()
    vault = VaultFolder(folder, private_key, VaultKey.generate(older.vault_id, 2))
    vault.write_vault_json(older)
    fill(vault, older)
    found = independent_reader.read_vault(private_key, folder)
    assert not found.faults, found.faults
    entries = dict.fromkeys(found.folders)
    shown = {
        "private_key": private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "vault_id": vault.key.vault_id.hex(),
        "generation": vault.key.generation,
        "root_seal_id": vault.root.seal_id.hex(),
        "vault_key": vault.key.secret.hex(),
        "purpose_keys": {
            purpose: independent_reader.purpose_key(vault.key.secret, vault.key.vault_id, purpose).hex()
            for purpose in independent_reader.LENGTHS
        },
        "names": [name_vector(vault, name) for name in NAMES],
        "texts": [text_vector(vault, purpose, text) for purpose, text in zip(Text, cycle(TEXTS))],
        "content_keys": [
            content_key_vector(vault, made) for made in vault.made.values() if made.manifest.generation == 2
        ],
        "older_keys": [{"generation": 1, "key": older.secret.hex(), "wrapped": vault.key.wrap_older(older).hex()}],
        "parts": [vector for made in vault.made.values() for vector in part_vectors(folder, made)],
        "part_lists": [list_vector(made) for made in vault.made.values()],
        "manifests": [manifest_vector(vault, folder, made) for made in vault.made.values()],
        "entries": entries | {path: hashlib.sha256(data).hexdigest() for path, data in found.files.items()},
        "head": vault.head,
    }
    shown["refused"] = refused(shown)
    (HERE / "vault-1.json").write_text(json.dumps(shown, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def fill(vault: VaultFolder, older: VaultKey) -> None:
    """Every shape of a content, small; one entry is still of the older generation."""
    deep = vault.folder(vault.folder(vault.root, "Papers & more"), "日本語")
    vault.file(vault.root, "empty", [], mime_type="")
    vault.file(vault.root, "one byte.txt", [b"K"], mime_type="text/plain")
    vault.file(deep, "a frame and a byte.bin", [plain("frame", FRAME + 1)])
    parts = [plain("first", 1000), plain("zeros", 17), plain("third", 300)]
    slices = [(1, 0, 17), (0, 0, 400), (1, 0, 17), (1, 3, 5), (0, 500, 500), (2, 299, 1)]
    vault.file(deep, "slices of shared parts.bin", parts, slices)
    link = b"XSym\n0005\n" + hashlib.md5(b"empty", usedforsecurity=False).hexdigest().encode() + b"\nempty\n"
    vault.file(vault.root, "link", [link.ljust(1067)], kind=ManifestKind.SYMLINK, mime_type="")
    vault.file(vault.root, "of the older key.txt", [b"old"], key=older, mime_type="text/plain")


def name_vector(vault: VaultFolder, name: str) -> dict[str, str]:
    parent, compared = vault_keys.new_id(), names.key(name, case_sensitive=False)
    return {
        "parent": parent.hex(),
        "name": name,
        "sealed": sealed_names.seal_name(vault.key, parent, name),
        "compared": compared,
        "key": sealed_names.seal_key(vault.key, parent, compared),
    }


def text_vector(vault: VaultFolder, purpose: Text, text: str) -> dict[str, str]:
    seal_id = vault_keys.new_id()
    sealed = sealed_texts.seal_text(vault.key, purpose, seal_id, text)
    return {"purpose": purpose.value, "seal_id": seal_id.hex(), "text": text, "sealed": sealed}


def content_key_vector(vault: VaultFolder, made: Made) -> dict[str, str]:
    content = made.manifest.content
    assert content is not None
    return {"content_id": content.id.hex(), "key": made.content_key.hex(), "wrapped": content.wrapped_key.hex()}


def part_vectors(folder: Path, made: Made) -> list[dict[str, Any]]:
    vectors = []
    for key, data in made.parts:
        file = made.place / key.name
        sealed, count = file.read_bytes(), -(-len(data) // FRAME)
        frames = [
            {
                "nonce": number.to_bytes(12, "big").hex(),
                "associated_data": independent_reader.frame_bound(key.id, number, count).hex(),
                "tag": sealed[number * (FRAME + 16) :][: FRAME + 16][-16:].hex(),
            }
            for number in range(count)
        ]
        vectors.append(
            {
                "name": key.name,
                "id": key.id.hex(),
                "key": key.secret.hex(),
                "plain_length": len(data),
                "plain": hashlib.sha256(data).hexdigest(),
                "sealed": hashlib.sha256(sealed).hexdigest(),
                "frames": frames,
                "file": str(file.relative_to(folder)),
            }
        )
    return vectors


def list_vector(made: Made) -> dict[str, Any]:
    content, sealed = made.manifest.content, (made.place / "parts").read_bytes()
    assert content is not None
    bound = b"kelp parts 1" + content.id
    return {
        "content_id": content.id.hex(),
        "key": made.content_key.hex(),
        "sealed": sealed.hex(),
        "plain": independent_reader.gcm_open(made.content_key, sealed[:12], sealed[12:], bound).hex(),
        "length": content.length,
    }


def manifest_vector(vault: VaultFolder, folder: Path, made: Made) -> dict[str, str]:
    file = made.place / "manifest"
    data = file.read_bytes()
    vector = {"file": str(file.relative_to(folder)), "sealed": data.hex(), "digest": hashlib.sha256(data).hexdigest()}
    if made.manifest.generation == vault.key.generation:
        vector["body"] = vault.key.manifests.decrypt(data[61:], [b"manifest", data[:61]]).hex()
    return vector


def refused(shown: dict[str, Any]) -> list[dict[str, Any]]:
    """Each of them is one of the others, with one thing wrong."""
    name, text, wrapped = shown["names"][1], shown["texts"][1], shown["content_keys"]
    listed, manifest = shown["part_lists"][0], shown["manifests"][0]
    other, file = shown["names"][2], (HERE / "vault-1" / "vault.json").read_text(encoding="utf-8")
    return [
        {"what": "name", "why": "of another folder", **name, "parent": other["parent"]},
        {"what": "name", "why": "a compared form is no name", **name, "sealed": name["key"]},
        {"what": "name", "why": "padding", **name, "sealed": name["sealed"] + "="},
        {
            "what": "name",
            "why": "unused bits of the text are not zero",
            **shown["names"][0],
            "sealed": _unused_bit(shown),
        },
        {"what": "name", "why": "cut", **name, "sealed": name["sealed"][:-4]},
        {"what": "text", "why": "of another purpose", **text, "purpose": "error"},
        {"what": "text", "why": "of another entry", **text, "seal_id": shown["texts"][2]["seal_id"]},
        {"what": "content_key", "why": "of another content", **wrapped[0], "content_id": wrapped[1]["content_id"]},
        {"what": "part_list", "why": "of another content", **listed, "content_id": wrapped[1]["content_id"]},
        {"what": "part_list", "why": "one bit", **listed, "sealed": _flipped(listed["sealed"], -1)},
        {"what": "manifest", "why": "a bit of the head", **manifest, "sealed": _flipped(manifest["sealed"], 40)},
        {"what": "manifest", "why": "a bit of the sealed rest", **manifest, "sealed": _flipped(manifest["sealed"], 80)},
        {"what": "vault_json", "why": "another role", "text": file.replace('"recovery"', '"admin"')},
        {"what": "vault_json", "why": "another top folder", "text": file.replace(shown["root_seal_id"], "00" * 16)},
        {"what": "vault_json", "why": "another generation", "text": file.replace('"generation": 2', '"generation": 3')},
    ]


def _unused_bit(shown: dict[str, Any]) -> str:
    """17 bytes are 23 characters, the last of which has two unused bits."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    sealed = shown["names"][0]["sealed"]
    assert len(sealed) == 23
    return str(sealed[:-1]) + alphabet[alphabet.index(sealed[-1]) | 1]


def _flipped(text: str, at: int) -> str:
    data = bytearray.fromhex(text)
    data[at] ^= 1
    return data.hex()


if __name__ == "__main__":
    main()
