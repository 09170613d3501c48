"""A vault is opened from its folder on the NAS alone: with a private key, without a database, cache or settings.

    vaults.py        finds vaults below a folder, and opens their keys
    entries.py       what lies in a folder of a vault: manifests, opened and judged
    sealed_files.py  the bytes of a file: its part list and parts, verified, on two cores
    placing.py       where it all goes; nothing there is ever overwritten
    recovering.py    the way through all of it
    findings.py      what is told

docs/vault-format.md, "Reading a vault". Works on plain folders, which may be a copy on any machine; never follows a
symbolic link below them.
"""
