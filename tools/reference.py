# SPDX-License-Identifier: Apache-2.0
"""Write docs/reference/ and each role's README.md from argument specs and plugins' documentation.

``python -m tools.reference`` writes the pages and removes those of roles and plugins that are gone;
``--check`` only compares, names the pages that differ and exits 1 when any does.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from plugins.module_utils._verify import catalogue
from tools import egress_tables

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "reference"
NAME = "baremetal.sonic"
KINDS = {
    "modules": "module",
    "filter": "filter",
    "lookup": "lookup",
    "inventory": "inventory",
    "callback": "callback",
}
NOTE = "<!-- Made by `make docs`. -->\n"
ROLES_ALONE = """\
A role that speaks to the Kubernetes API runs on the leader of a site, with the Python that has the
Kubernetes client. It has the kubeconfig from the play. A play of your own for such a role:

```yaml
- name: Group the leaders of the sites
  ansible.builtin.import_playbook: baremetal.sonic.leader

- name: Apply the ingress alone
  hosts: sonic_leaders
  gather_facts: false
  module_defaults:
    group/baremetal.sonic.cluster:
      kubeconfig: "{{ site_kubeconfig }}"
  vars:
    ansible_python_interpreter: "{{ site_python }}"
  roles:
    - role: baremetal.sonic.ingress
```
"""


def load(path: Path) -> dict[str, Any]:
    """Return a YAML file's mapping, an empty one when it has none or is missing."""
    loaded = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
    return loaded if isinstance(loaded, dict) else {}


def text(value: object) -> str:
    """Return a description (a string or a list of them) as Markdown, Ansible's markup turned."""
    paragraphs = value if isinstance(value, list) else [value] if value else []
    joined = "\n\n".join(str(paragraph).strip() for paragraph in paragraphs)
    joined = re.sub(r"\b[BI]\(([^)]*)\)", r"*\1*", joined)
    joined = re.sub(r"\b(?:[CVOEMP]|RV)\(([^)#]*?)(?:#[a-z]+)?\)", r"`\1`", joined)
    joined = re.sub(r"\bU\(([^)]*)\)", r"<\1>", joined)
    return re.sub(r"\bL\(([^,)]*),\s*([^)]*)\)", r"[\1](\2)", joined)


def kind(option: dict[str, Any]) -> str:
    """Return an option's type in words, as ``list of dict``."""
    name = str(option.get("type", "str"))
    return f"list of {option.get('elements', 'raw')}" if name == "list" else name


def shown(value: object) -> str:
    """Return a value as one line of YAML flow style in code marks."""
    line = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"`{line}`" if line else '`""`'


def options(
    named: dict[str, dict[str, Any]], defaults: dict[str, Any], depth: int = 0
) -> Iterator[str]:
    """Yield the lines that describe options, those inside them further in."""
    indent = "  " * depth
    for name in sorted(named):
        option = named[name]
        facts = [kind(option)]
        if option.get("required"):
            facts.append("**required**")
        if option.get("no_log"):
            facts.append("secret")
        if option.get("choices"):
            choices = option["choices"]
            facts.append("one of " + ", ".join(shown(choice) for choice in choices))
        default = option.get("default", defaults.get(name) if depth == 0 else None)
        if default is not None and "\n" not in str(default):
            facts.append(f"default {shown(default)}")
        described = text(option.get("description")).replace("\n\n", " ").replace("\n", " ")
        yield f"{indent}- `{name}` ({', '.join(facts)}): {described}\n"
        inner = option.get("options") or option.get("suboptions") or {}
        yield from options(inner, {}, depth + 1)


def role_page(role: Path) -> str:
    """Return the page of the role in this folder."""
    [entry] = load(role / "meta" / "argument_specs.yml")["argument_specs"].values()
    defaults = load(role / "defaults" / "main.yml")
    parts = [NOTE, f"# Role {NAME}.{role.name}\n", text(entry.get("short_description")) + "\n"]
    described = text(entry.get("description"))
    if described and described != text(entry.get("short_description")):
        parts.append(described + "\n")
    named = entry.get("options") or {}
    parts.append("## Variables\n")
    parts.append("".join(options(named, defaults)) if named else "None of its own.\n")
    return "\n".join(parts)


def role_readme(role: Path) -> str:
    """Return the README.md of the role in this folder, as Galaxy shows it: with full URLs only."""
    [entry] = load(role / "meta" / "argument_specs.yml")["argument_specs"].values()
    documents = f"{load(ROOT / 'galaxy.yml')['repository']}/blob/main/docs"
    parts = [NOTE, f"# Role {NAME}.{role.name}\n", text(entry.get("short_description")) + "\n"]
    parts.append(
        f"The playbooks of the collection `{NAME}` run it: "
        f"[deploying a site]({documents}/deploy-a-site.md).\n"
        f"Its variables: [reference]({documents}/reference/roles/{role.name}.md).\n"
    )
    return "\n".join(parts)


def plugin_names() -> dict[str, list[str]]:
    """Return the names of the collection's documented plugins for each kind of them."""
    result = {}
    for folder, name in KINDS.items():
        files = sorted((ROOT / "plugins" / folder).glob("[!_]*.*"))
        stems = {
            file.stem
            for file in files
            if file.suffix in {".yml", ".yaml"} or "\nDOCUMENTATION" in file.read_text("utf-8")
        }
        if stems:
            result[name] = sorted(stems)
    return result


def documented(sort: str, names: Sequence[str]) -> dict[str, Any]:
    """Return ansible-doc's output for plugins, by full name. SystemExit: one has none."""
    full = [f"{NAME}.{name}" for name in names]
    settings = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".lab" / "collections"),
        "ANSIBLE_NOCOLOR": "1",
    }
    result = subprocess.run(
        ["ansible-doc", "--json", "--type", sort, *full],
        env=settings,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    answer: dict[str, Any] = json.loads(result.stdout) if result.returncode == 0 else {}
    missing = [name for name in full if name not in answer]
    if missing:
        raise SystemExit(
            f"reference: ansible-doc finds no documentation of {sort} {', '.join(missing)}"
        )
    return answer


def plugin_page(sort: str, name: str, known: dict[str, Any]) -> str:
    """Return the page of a plugin from ansible-doc's output."""
    doc = known["doc"]
    parts = [NOTE, f"# {sort.capitalize()} {name}\n", text(doc.get("short_description")) + "\n"]
    parts.append(text(doc.get("description")) + "\n")
    if doc.get("options"):
        parts += ["## Options\n", "".join(options(doc["options"], {}))]
    if doc.get("attributes"):
        parts.append("## Attributes\n")
        parts.append(
            "".join(
                f"- `{attribute}` ({facts.get('support')}): {text(facts.get('description'))}\n"
                for attribute, facts in sorted(doc["attributes"].items())
            )
        )
    if doc.get("notes"):
        parts += ["## Notes\n", "".join(f"- {text(note)}\n" for note in doc["notes"])]
    if known.get("examples"):
        parts += ["## Examples\n", f"```yaml\n{known['examples'].strip()}\n```\n"]
    if known.get("return"):
        parts += ["## Returned\n", "".join(returned(known["return"]))]
    return "\n".join(parts)


def returned(values: dict[str, Any], depth: int = 0) -> Iterator[str]:
    """Yield the lines that describe returned values, those inside them further in."""
    for name, value in values.items():
        described = text(value.get("description")).replace("\n\n", " ").replace("\n", " ")
        when = f", {value['returned']}" if value.get("returned") else ""
        yield f"{'  ' * depth}- `{name}` ({kind(value)}{when}): {described}\n"
        yield from returned(value.get("contains") or {}, depth + 1)


def checks_page() -> str:
    """Return the table of verify's checks."""
    rows = [
        f"| `{check.id}` | {check.title} | {'' if check.limit is None else f'{check.limit:g}'} |"
        f" {', '.join(f'`{name}`' for name in check.after)} | {check.remedy} |\n"
        for check in catalogue.CHECKS
    ]
    return (
        f"{NOTE}\n# Checks of verify.yml\n\nIn the order of the table that it prints."
        " A failure of a check in the column *After* explains one of this check,"
        " which is then skipped.\n\n"
        "| Id | Passes when | Limit | After | If it fails |\n|---|---|---|---|---|\n"
        + "".join(rows)
    )


def pages() -> dict[Path, str]:
    """Return every page of the reference with its text."""
    made: dict[Path, str] = {}
    lines = [NOTE, "# Reference\n", "## Roles\n", ROLES_ALONE]
    roles = sorted(path for path in (ROOT / "roles").glob("*") if path.is_dir())
    for role in roles:
        made[PAGES / "roles" / f"{role.name}.md"] = role_page(role)
        made[role / "README.md"] = role_readme(role)
        [entry] = load(role / "meta" / "argument_specs.yml")["argument_specs"].values()
        lines.append(
            f"- [{role.name}](roles/{role.name}.md): {text(entry.get('short_description'))}"
        )
    for sort, names in plugin_names().items():
        lines.append(f"\n## {sort.capitalize()}{'s' if sort != 'inventory' else ' plugins'}\n")
        for name, known in documented(sort, names).items():
            short = name.removeprefix(f"{NAME}.")
            made[PAGES / f"{sort}s" / f"{short}.md"] = plugin_page(sort, name, known)
            lines.append(
                f"- [{short}]({sort}s/{short}.md): {text(known['doc'].get('short_description'))}"
            )
    lines += [
        "\n## Tables\n",
        "- [egress](egress.md): who may connect to whom, and the site's own firewall",
        "- [checks](checks.md): what verify.yml checks, with the limits",
    ]
    made[PAGES / "checks.md"] = checks_page()
    made[PAGES / "egress.md"] = NOTE + "\n" + egress_tables.page()
    made[PAGES / "README.md"] = "\n".join(lines) + "\n"
    return made


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with ``--check`` compare them, and return the exit status."""
    made = pages()
    there = {*PAGES.rglob("*.md"), *ROOT.glob("roles/*/README.md")}
    stale = {
        path
        for path, content in made.items()
        if path not in there or path.read_text("utf-8") != content
    }
    stale |= there - made.keys()
    if "--check" in arguments:
        for path in sorted(stale):
            print(f"{path.relative_to(ROOT)}: out of date; run `make docs`")
        return int(bool(stale))
    for path in stale:
        if path in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made[path], encoding="utf-8")
        else:
            path.unlink()
    print(f"docs/reference: {len(made)} pages, {len(stale)} changed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
