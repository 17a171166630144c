# SPDX-License-Identifier: Apache-2.0
"""The page docs/reference/egress.md: the egress matrix, and the table for a site's own firewall.

Both are made from what the role egress itself works with: its matrix and its default allowlist.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from plugins.plugin_utils.egress import cells

ROOT = Path(__file__).resolve().parent.parent
ROLE = ROOT / "roles" / "egress"
HEAD = """\
# Egress: who may connect to whom

[docs/egress.md](../egress.md) explains the profiles and how to change them. The tests open every
one of these connections in the lab, under each profile, from inside the pods.

"""
FIREWALL = """
## The site's own firewall

Allow these connections in connected mode with the default `egress_allowlist`. An air-gapped
site needs none.

"""
ABOUT_FIREWALL = """
Pods connect through the egress gateway, with the address of its host.
These rules need no incoming connections. Clients need port 443 of the ingress hosts, and
port 80, which only redirects there.
"""
PROFILES = {
    "strict": ("stack", "monitoring", "keda", ""),
    "vendor": ("stack",),
}
PLACES = {
    "stack": "Pods of the stack",
    "monitoring": "Pods of monitoring",
    "keda": "Pods of KEDA",
    "": "Hosts and other pods",
}


def line(parts: Iterable[str]) -> str:
    """Return a row of a Markdown table."""
    return "| " + " | ".join(parts) + " |\n"


def matrix_table(matrix: Mapping[str, Any], profile: str, sources: Sequence[str]) -> str:
    """Return the table of a profile: a row for each destination, a column for each source."""
    allowed = cells(matrix, profile)
    text = line(["To", *sources]) + line(["---"] * (len(sources) + 1))
    marks = {True: "yes", False: "-", None: ""}
    for name, destination in matrix["destinations"].items():
        items = [marks[allowed.get((source, name))] for source in sources]
        text += line([destination["what"], *items])
    return text


def groups(matrix: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the sources by where they are: a table with all of them would be too wide."""
    result: dict[str, list[str]] = {}
    for name, source in matrix["sources"].items():
        place = source.get("namespace", "stack" if {"component", "inside"} & {*source} else "")
        result.setdefault("" if source.get("guarded") else place, []).append(name)
    return result


def firewall_table(allowlist: Sequence[Mapping[str, Any]]) -> str:
    """Return the table for the firewall: the allowlist, and the DNS that leads to its names."""
    text = line(["From", "To", "Port", "Why", "Used by"]) + line(["---"] * 5)
    for entry in allowlist:
        used = list(entry["used_by"])
        pods = [name for name in used if name != "hosts"]
        whom = ["all hosts, themselves"] if "hosts" in used else []
        whom += [f"{' and '.join(pods)}, through the gateway"] if pods else []
        to = f"`{entry['name']}`" + (f" ({entry['address']})" if entry.get("address") else "")
        port = f"{entry.get('port', 443)} TCP"
        text += line(["all hosts", to, port, entry["reason"], "; ".join(whom)])
    why = "Standard resolution, for the names above"
    whose = "all hosts, and the cluster's DNS for pods"
    return text + line(["all hosts", "the hosts' name servers", "53 UDP and TCP", why, whose])


def page() -> str:
    """Return the page."""
    made = (ROLE / "vars/main/matrix.yml").read_text(encoding="utf-8")
    matrix = yaml.safe_load(made)["egress_matrix"]
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text(encoding="utf-8"))
    text = HEAD + line(["Source", "What it is"]) + line(["---"] * 2)
    for name, source in matrix["sources"].items():
        text += line([name, source["what"]])
    grouped = groups(matrix)
    for profile, places in PROFILES.items():
        text += f"\n## Profile {profile}\n"
        for place in places:
            text += f"\n### {PLACES[place]}\n\n" + matrix_table(matrix, profile, grouped[place])
    text += (
        "\nAn empty cell is no connection that policies are about. The profile vendor says nothing"
        " of pods outside the stack. Profile off: everything is allowed.\n"
    )
    return text + FIREWALL + firewall_table(defaults["egress_allowlist"]) + ABOUT_FIREWALL
