# SPDX-License-Identifier: Apache-2.0
"""Roles convert their truth values and numbers where they use them.

``-e keda_install=false`` and the variables of an INI inventory are texts: ``if keda_install`` is
true then. Ansible checks types by argument_specs, but passes the text on, and nothing ranks above
``-e``. So each use has its filter, bool or int, by the type in argument_specs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from jinja2 import nodes

from tests.unit.rendering import ROOT

# Keys of tasks whose text is an expression without braces.
CONDITIONS = {"when", "changed_when", "failed_when", "until", "that"}
CONVERTS = {"bool": {"bool"}, "int": {"int", "float"}, "float": {"float"}}
PARSER = jinja2.Environment(extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"])


class Loader(yaml.SafeLoader):
    """Reads what Ansible reads; a text that is not to be evaluated counts as none."""


Loader.add_constructor("!unsafe", lambda _loader, _node: None)


def typed_variables() -> dict[str, str]:
    """The roles' variables that are truth values or numbers, with their types."""
    result: dict[str, str] = {}
    for path in sorted(ROOT.glob("roles/*/meta/argument_specs.yml")):
        specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
        for entry in specs.values():
            options = (entry.get("options") or {}).items()
            result |= {name: opt["type"] for name, opt in options if opt["type"] in CONVERTS}
    return result


TYPES = typed_variables()


def unconverted(template: str, whole: bool) -> list[str]:
    """Uses of typed variables without their filter.

    Args:
        template: text with Jinja's braces.
        whole: whether a value that is a variable alone goes on to a module or to another
            variable, where it is converted.
    """
    tree = PARSER.parse(template)
    alone = isinstance(tree.body[0], nodes.Output) and len(tree.body) == 1 if tree.body else False
    result: list[str] = []

    def visit(node: nodes.Node, parents: list[nodes.Node]) -> None:
        name = node.name if isinstance(node, nodes.Name) and node.ctx == "load" else ""
        if name in TYPES and not converted(name, parents, whole and alone):
            result.append(name)
        for child in node.iter_child_nodes():
            visit(child, [node, *parents])

    visit(tree, [])
    return result


def converted(name: str, parents: list[nodes.Node], alone: bool) -> bool:
    """Whether a use is right: converted, only asked for its presence, or only printed."""
    for parent in parents:
        if isinstance(parent, nodes.Filter) and parent.name == "default":
            continue
        if isinstance(parent, nodes.Test):
            return parent.name in {"defined", "undefined"}
        if isinstance(parent, nodes.Filter):
            return parent.name in CONVERTS[TYPES[name]]
        if isinstance(parent, nodes.Output):
            return (alone and len(parent.nodes) == 1) or TYPES[name] != "bool"
        return isinstance(parent, nodes.Concat) and TYPES[name] != "bool"
    return False


def expressions(value: Any, key: str = "") -> Iterator[str]:
    """The texts of a YAML file that Ansible evaluates."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from expressions(item, str(name))
    elif isinstance(value, list):
        for item in value:
            yield from expressions(item, key)
    elif isinstance(value, str):
        yield f"{{% if {value} %}}{{% endif %}}" if key in CONDITIONS else value


def sources() -> list[Path]:
    """Every file of roles and playbooks in which variables are used."""
    parts = ("tasks/*.yml", "handlers/*.yml", "vars/**/*.yml", "defaults/*.yml", "templates/*.j2")
    actual = [path for part in parts for path in ROOT.glob(f"roles/*/{part}")]
    return sorted([*actual, *ROOT.glob("playbooks/*.yml")])


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_types_are_those_of_the_specs(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".j2":
        assert unconverted(text, whole=False) == []
        return
    texts = expressions(yaml.load(text, Loader))
    assert [f"{name} in {t.strip()}" for t in texts for name in unconverted(t, whole=True)] == []


@pytest.mark.parametrize(
    ("template", "wrong"),
    [
        ("{% if keda_install %}x{% endif %}", ["keda_install"]),
        ("{% if not keda_install | bool and api_replicas > 1 %}x{% endif %}", ["api_replicas"]),
        ("{{ 'a' if keda_install | default(true) else 'b' }}", ["keda_install"]),
        ("{{ keda_install | default(true) | bool }}", []),
        ("{% if keda_install is defined %}x{% endif %}", []),
        ("{{ api_replicas }} {{ keda_install | bool }}", []),
        ("{{ api_replicas | int > 1 }}", []),
        ("{{ {'replicas': api_replicas} | to_json }}", ["api_replicas"]),
        ("{{ [api_replicas, 2] | max }}", ["api_replicas"]),
        ("hsts: {{ ingress_hsts }}", ["ingress_hsts"]),
    ],
)
def test_the_scan_finds_what_is_wrong(template: str, wrong: list[str]) -> None:
    assert unconverted(template, whole=False) == wrong


def test_a_value_alone_goes_on_to_a_module() -> None:
    assert unconverted("{{ keda_install }}", whole=True) == []
    assert unconverted("{{ keda_install and x }}", whole=True) == ["keda_install"]
