# SPDX-License-Identifier: Apache-2.0
"""A home folder for ansible-test: it installs its requirements as this machine's pip does."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from pathlib import Path

from lab.config import cache_dir

# ansible-test installs pip by a script that it downloads from its own host. ansible-core 2.19 looks
# for this file first; it installs pip from Python's own packages and index.
GET_PIP_NAME = "get_pip_24_2.py"
GET_PIP = """\
import runpy, subprocess, sys
subprocess.run([sys.executable, "-m", "ensurepip"], stdout=subprocess.DEVNULL, check=True)
sys.argv[1:] = ["install", *(word for word in sys.argv[1:] if not word.startswith("--no-"))]
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


def sanity_home() -> Path:
    """Return a home folder for ansible-test, so that it leaves the user's alone.

    ansible-test hides the environment from pip, so pip's settings there are copied to a file.
    """
    home = cache_dir() / "ansible-test"
    folder = home / ".ansible" / "test" / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / GET_PIP_NAME).write_text(GET_PIP, encoding="utf-8")
    for name in (".cache", ".netrc"):
        if (Path.home() / name).exists() and not (home / name).is_symlink():
            (home / name).symlink_to(Path.home() / name)
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    settings = configparser.ConfigParser(interpolation=None)
    settings["global"] = {}
    for line in listed.splitlines():
        key, value = line.split("=", 1)
        section, option = key.replace(":env:", "global").rsplit(".", 1)
        if section not in settings:
            settings[section] = {}
        settings[section][option] = ast.literal_eval(value)
    settings["global"]["quiet"] = "1"
    pip = home / ".config" / "pip"
    pip.mkdir(parents=True, exist_ok=True)
    with (pip / "pip.conf").open("w", encoding="utf-8") as file:
        settings.write(file)
    return home
