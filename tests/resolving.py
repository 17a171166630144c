# SPDX-License-Identifier: Apache-2.0
"""Variables as the tasks of a playbook see them, by Ansible's own order of precedence.

Ansible loads the playbook and the inventory; no task runs and no host is asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.playbook import Playbook
from ansible.playbook.block import Block
from ansible.playbook.play import Play
from ansible.playbook.task import Task
from ansible.template import Templar
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from ansible_collections.baremetal.sonic.plugins.plugin_utils.templating import trust_as_template

ROOT = Path(__file__).resolve().parent.parent
HOST = "cp1"


class Resolver:
    """The playbooks with an inventory of one host, which is in every group."""

    def __init__(self, folder: Path, **variables: Any) -> None:
        """folder: takes the inventory. variables: what the inventory gives to all hosts."""
        groups: dict[str, Any] = {
            name: {"hosts": {HOST: {}}} for name in ("control_plane", "ingress", "gpu_workers")
        }
        path = folder / "hosts.json"
        path.write_text(json.dumps({"all": {"vars": variables, "children": groups}}))
        self._loader = DataLoader()
        inventory = InventoryManager(loader=self._loader, sources=[str(path)])
        self._host = inventory.get_host(HOST)
        self._manager = VariableManager(loader=self._loader, inventory=inventory)
        # Gives the manager hostvars, as Ansible does before it runs a task.
        HostVars(inventory, self._manager, self._loader)

    def tasks(self, playbook: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield each task's name, its role (empty for none), and the variables that it sees."""
        for play, task in self._tasks(playbook):
            yield task.get_name(), _role(task), self._seen(play, task)

    def value(self, playbook: str, role: str, expression: str) -> Any:
        """Return what an expression is for the last task of a role in a playbook."""
        *_others, last = [pair for pair in self._tasks(playbook) if _role(pair[1]) == role]
        templar = Templar(loader=self._loader, variables=self._seen(*last))
        return templar.template(trust_as_template(expression))

    def _tasks(self, playbook: str) -> Iterator[tuple[Play, Task]]:
        path = str(ROOT / "playbooks" / playbook)
        loaded = Playbook.load(path, variable_manager=self._manager, loader=self._loader)
        for play in loaded.get_plays():
            for block in play.compile():
                for task in _inside(block):
                    yield play, task

    def _seen(self, play: Play, task: Task) -> dict[str, Any]:
        seen: dict[str, Any] = self._manager.get_vars(play=play, host=self._host, task=task)
        return seen


def _role(task: Task) -> str:
    """Return the name of a task's role without its collection; empty for none."""
    return str(task._role.get_name()).rpartition(".")[2] if task._role else ""


def _inside(block: Block) -> Iterator[Task]:
    """Yield a block's tasks, those of inner blocks too."""
    for item in (*block.block, *block.rescue, *block.always):
        if isinstance(item, Block):
            yield from _inside(item)
        else:
            yield item
