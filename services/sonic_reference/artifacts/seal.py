# SPDX-License-Identifier: Apache-2.0
"""A signature over all files of a generation: a writer of the bucket alone cannot change it.

    python3 -m sonic_reference.artifacts.seal --key private.pem FOLDER

signs the files of FOLDER (voices/..., loras/..., pronunciation-dicts/...) and writes
FOLDER/generation.json, which goes into the bucket beside them. It is a JSON object
``{"generation": BASE64, "signature": BASE64}``: the list of files, a JSON object of its own, and an
Ed25519 signature (RFC 8032) of the list's bytes. The list has a number. One with a lower number
than the current list is a replay, and refused.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sonic_reference.artifacts import catalogue
from sonic_reference.artifacts.generations import MAX_FILES, NAME, Entry, digest

FILE = "generation.json"


class Signed(BaseModel):
    """One file of the list; ``size`` is in bytes, ``sha256`` in hexadecimal digits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Annotated[int, Field(ge=0)]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Seal(BaseModel):
    """A signed list: all files of a generation by their names, and its number."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["sonic-artifacts/1"] = "sonic-artifacts/1"
    number: Annotated[int, Field(ge=1, le=2**53)]
    files: Annotated[dict[str, Signed], Field(max_length=MAX_FILES)]

    def check_names(self, names: set[str]) -> None:
        """Compare the list with the names of a source. Raises InvalidArtifactsError."""
        catalogue.refuse(
            [f"{name}: it is signed, and not there" for name in sorted(self.files.keys() - names)]
            + [
                f"{name}: it is not in the signed list"
                for name in sorted(names - self.files.keys())
            ]
        )

    def check(self, entry: Entry) -> None:
        """Compare the list with one file. Raises InvalidArtifactsError."""
        listed = self.files[entry.name]
        if (entry.size, entry.sha256) != (listed.size, listed.sha256):
            raise catalogue.InvalidArtifactsError(f"{entry.name}: it is not what was signed")


class _File(BaseModel):
    generation: str
    signature: str


def public_key(text: str) -> Ed25519PublicKey:
    """Return the key of a PEM text. Raises ValueError when it is not an Ed25519 public key."""
    key = load_pem_public_key(text.encode())
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not an Ed25519 key")
    return key


def opened(content: bytes, key: Ed25519PublicKey) -> Seal:
    """Return a list that was signed with the key. Raises InvalidArtifactsError."""
    try:
        parts = _File.model_validate_json(content)
        listed, signature = (
            base64.b64decode(part, validate=True) for part in (parts.generation, parts.signature)
        )
        key.verify(signature, listed)
        return Seal.model_validate_json(listed)
    except InvalidSignature:
        problem = "its signature is not of the owner of artifact_sync_public_key"
    except (ValidationError, binascii.Error, ValueError):
        problem = "it is no signed list of files: make it by sonic_reference.artifacts.seal"
    raise catalogue.InvalidArtifactsError(f"{FILE}: {problem}")


def sealed(files: Mapping[str, Signed], number: int, key: Ed25519PrivateKey) -> bytes:
    """Return the content of generation.json. Raises ValidationError for a list that cannot be."""
    listed = Seal(number=number, files=dict(files)).model_dump_json().encode()
    texts = [base64.b64encode(part).decode() for part in (listed, key.sign(listed))]
    return _File(generation=texts[0], signature=texts[1]).model_dump_json().encode()


def folder_files(folder: Path) -> dict[str, Signed]:
    """Return the files of a folder. Raises OSError, InvalidArtifactsError."""
    catalogue.read(folder)
    files = {}
    for kind in catalogue.FOLDERS:
        for path in sorted((folder / kind).glob("*")):
            name = f"{kind}/{path.name}"
            if not NAME.fullmatch(name):
                raise catalogue.InvalidArtifactsError(f"{name}: that is no name for a file")
            files[name] = Signed(size=path.stat().st_size, sha256=digest(path))
    return files


def main(words: Sequence[str]) -> int:
    """Sign a folder; returns the exit status."""
    parser = argparse.ArgumentParser(prog="sonic_reference.artifacts.seal")
    parser.add_argument("folder", type=Path, help="the folder with voices, loras, ...")
    parser.add_argument("--key", type=Path, required=True, help="Ed25519 private key, PEM")
    # Seconds since 1970: a list that is made later has a higher number.
    parser.add_argument("--number", type=int, default=int(time.time()), help="now, in seconds")
    given = parser.parse_args(words)
    try:
        key = load_pem_private_key(given.key.read_bytes(), None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("it is no Ed25519 key")
    except (OSError, ValueError, TypeError) as error:
        sys.stderr.write(f"--key {given.key} cannot be used: {error}\n")
        return 2
    try:
        content = sealed(folder_files(given.folder), given.number, key)
        (given.folder / FILE).write_bytes(content)
    except (OSError, ValidationError, catalogue.InvalidArtifactsError) as error:
        sys.stderr.write(f"{given.folder} cannot be signed: {error}\n")
        return 1
    sys.stdout.write(f"{given.folder / FILE}: generation {given.number}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
