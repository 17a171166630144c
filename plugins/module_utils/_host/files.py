# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Replace a text file atomically."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def write_file(
    module: AnsibleModule,
    path: Path,
    text: str,
    mode: int = 0o644,
    owner: tuple[int, int] | None = None,
) -> None:
    """Give a file a new text, through AnsibleModule.atomic_move.

    The text is on the disk before the file gets its name: an interruption leaves the old file or
    the new one, never a part. At no moment is the file more open than `mode`.

    Args:
        module: the module that writes.
        path: the file. Its folder must exist.
        text: the whole text. Line ends stay as they are.
        mode: permission bits, also of a file that exists.
        owner: user and group ID; by default those of the module's process.

    Raises:
        OSError: the file cannot be written.
    """
    uid, gid = owner or (os.geteuid(), os.getegid())
    # One fixed name, so that the next run replaces what an interrupted run left.
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.chown(temporary, uid, gid)
        temporary.chmod(mode)
        _move(module, temporary, path, mode)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    # atomic_move sets owner and mode of a new file by its own rule.
    os.chown(path, uid, gid)
    path.chmod(mode)


def _move(module: AnsibleModule, temporary: Path, path: Path, mode: int) -> None:
    # atomic_move opens a new file as far as the umask lets it.
    before = os.umask(0o777 & ~mode)
    try:
        module.atomic_move(str(temporary), str(path), keep_dest_attrs=False)
    except Exception as error:
        # atomic_move raises plain Exception. Callers report the text of an OSError.
        cause = error.__cause__
        if isinstance(cause, OSError):
            raise OSError(cause.errno, cause.strerror, str(path)) from error
        raise
    finally:
        os.umask(before)
