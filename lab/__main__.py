# SPDX-License-Identifier: Apache-2.0
"""The lab's command line: python -m lab up | create | bundle | info | down | bench."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import time

from lab import bench, hosts, outside, preflight, show
from lab.bundle import upstream
from lab.bundle.build import build
from lab.config import REPOSITORY, Lab, LabError

CERTIFICATES = (
    "ca.pem", "intermediate.pem", "ingress.pem", "ingress-rsa.pem", "license.pem", "storage.pem",
)  # fmt: skip
SERVICE_ACCOUNT = "service-account.json"
_STARTED = time.monotonic()


def say(text: str) -> None:
    """Print a line of progress with the time since the start."""
    seconds = int(time.monotonic() - _STARTED)
    print(f"{seconds // 60:3d}:{seconds % 60:02d}  {text}", flush=True)


def create(lab: Lab) -> None:
    """Bundle, hosts, certificates: everything up to an inventory that site.yml can use."""
    upstream.setting()
    if not hosts.running(lab):
        subnet = os.environ.get("LAB_SUBNET") or None
        preflight.check(lab, subnet)
        lab.subnet = subnet or lab.subnet
    lab.api_key = lab.api_key or f"sk_lab_{secrets.token_urlsafe(24)}"
    lab.save()
    bundle = build(say)
    image = hosts.create(lab, bundle, say)
    if not all((lab.directory / name).exists() for name in (*CERTIFICATES, SERVICE_ACCOUNT)):
        say("making the lab's certificate authority and certificates")
        playbook(lab, "lab/certificates.yml", "-i", "localhost,", quiet=True)
    outside.start_all(lab, bundle, image)


def playbook(lab: Lab, path: str, *options: str, quiet: bool = False) -> None:
    """Run a playbook for this lab.

    Raises:
        LabError: it failed; Ansible's own output has the reason.
    """
    done = subprocess.run(
        ["ansible-playbook", *options, path],
        cwd=REPOSITORY,
        env=lab.environment,
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=quiet,
        text=True,
    )
    if done.returncode:
        if quiet:
            print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
        raise LabError(f"ansible-playbook {path} failed ({done.returncode}), see above")


def up(lab: Lab) -> None:
    """Bring the lab up to speech, from any state."""
    create(lab)
    say("running playbooks/site.yml")
    playbook(lab, "playbooks/site.yml", "-i", "inventories/lab")
    show.fetch_kubeconfig(lab)
    show.summary(lab, say)


def bundle(_lab: Lab) -> None:
    """Only the bundle, without hosts: what a lab needs of the network is in the cache then."""
    made = build(say)
    say(f"the bundle is in {made.repository.parent.parent}")


def down(lab: Lab) -> None:
    """Remove the lab."""
    removed = hosts.destroy(lab)
    say(f"lab {lab.name}: " + ("removed " + ", ".join(removed) if removed else "nothing to remove"))


def info(lab: Lab) -> None:
    """Print the lab's addresses as JSON."""
    if not hosts.running(lab):
        raise LabError(f"no lab {lab.name} is running: make lab LAB={lab.name}")
    if not lab.kubeconfig.exists():
        show.fetch_kubeconfig(lab)
    print(json.dumps(show.info(lab), indent=2))


def main() -> int:
    """Parse the command line and run; errors that the user can fix are one message."""
    parser = argparse.ArgumentParser(prog="lab", description=__doc__)
    commands = {"up": up, "create": create, "bundle": bundle, "info": info, "down": down}
    commands["bench"] = bench.run
    parser.add_argument("command", choices=commands)
    parser.add_argument("--lab", default=os.environ.get("LAB") or "lab", help="the lab's name")
    options = parser.parse_args()
    try:
        commands[options.command](Lab.load(options.lab))
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command again goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
