#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Initialize or join a Kubernetes node with kubeadm, also after an interruption."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_node
short_description: Initialize a control plane, make or remove a join token, or join a node, with kubeadm
description:
  - Brings a host to the wanted state and returns its state.
  - After an interrupted C(kubeadm init) or C(kubeadm join), the next run finishes it and keeps its certificates and etcd's data.
  - kubeadm reads its configuration only at C(kubeadm init). Later changes of O(config) are not applied; a warning names them.
  - Never initializes a complete control plane again. If its API does not answer, the module fails and names the logs to read.
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
extends_documentation_fragment:
  - baremetal.sonic.attributes
options:
  state:
    description:
      - V(initialized) runs C(kubeadm init) if it has not been completed, and removes its join token and this
        module's tokens from an interrupted join. An administrator's tokens stay.
      - V(token) makes a short-lived bootstrap token, on a control plane. It always makes a new one, so ask for it only when a host must join.
      - V(revoked) removes the token of O(secret), on a control plane.
      - V(joined) runs C(kubeadm join) where the host is not a node yet.
      - V(queried) only returns whether the host is a node.
    type: str
    choices: [initialized, token, revoked, joined, queried]
    required: true
  config:
    description:
      - For O(state=initialized), the documents that kubeadm reads (InitConfiguration, ClusterConfiguration, KubeletConfiguration ...).
      - For O(state=joined), one JoinConfiguration without its C(discovery).
    type: list
    elements: dict
    default: []
  endpoint:
    description: Address and port of the API, for O(state=joined).
    type: str
  secret:
    description: The RV(secret) that O(state=token) returned, for O(state=joined) and O(state=revoked).
    type: dict
  encryption_config:
    description:
      - File in which O(state=initialized) writes an EncryptionConfiguration with a new key before C(kubeadm init), if it does not exist.
      - Only root can read it, and it is never replaced. The API server's arguments in O(config) must name it.
    type: path
  ignore_preflight_errors:
    description: Checks of kubeadm that may fail.
    type: list
    elements: str
    default: []
  token_minutes:
    description: Lifetime of a token, in minutes.
    type: int
    default: 15
  api_timeout:
    description: How long to wait for the API of a complete control plane to answer (after a reboot, for example), in seconds.
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Initialize the control plane
  baremetal.sonic.kubeadm_node:
    state: initialized
    config: "{{ kubeadm_documents }}"

- name: Make a join token
  baremetal.sonic.kubeadm_node:
    state: token
  delegate_to: cp1
  register: kubeadm_token

- name: Join
  baremetal.sonic.kubeadm_node:
    state: joined
    endpoint: 192.0.2.11:6443
    secret: "{{ kubeadm_token.secret }}"

- name: Remove the join token
  baremetal.sonic.kubeadm_node:
    state: revoked
    secret: "{{ kubeadm_token.secret }}"
  delegate_to: cp1
"""

RETURN = r"""
joined:
  description: Whether the host is a node (after this call; in check mode, before it).
  returned: always
  type: bool
not_applied:
  description: Fields of O(config), or arguments of the control plane's programs, that the cluster was initialized without.
  returned: when O(state=initialized), and there are some
  type: list
  elements: str
  sample: ["kube-apiserver --audit-policy-file"]
secret:
  description: A bootstrap token and the hash of the cluster's certificate authority.
  returned: when O(state=token)
  type: dict
  contains:
    token:
      description: The token.
      type: str
    ca_cert_hash:
      description: The hash, as C(sha256:...).
      type: str
"""

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._host import kubeadm, kubeadm_settings
from ansible_collections.baremetal.sonic.plugins.module_utils._host.files import write_file


class Node:
    """This host, as kubeadm sees it."""

    def __init__(self, module: AnsibleModule) -> None:
        """`module` brings options, check mode and commands."""
        self.module = module
        self.options: dict[str, Any] = module.params

    def initialized(self) -> bool:
        """Return whether `kubeadm init` was completed here; waits for an API that is starting."""
        complete_once = kubeadm.completed()
        if not kubeadm.ADMIN.exists():
            if complete_once:
                self.module.fail_json(
                    msg=f"this control plane is initialized, but {kubeadm.ADMIN} is gone: make it"
                    " again with 'kubeadm init phase kubeconfig admin' on the host"
                )
            return False
        deadline = time.monotonic() + self.options["api_timeout"]
        if not complete_once:
            # The API of an interrupted init may never come up by itself: look once, then go on.
            deadline = time.monotonic()
        while True:
            code, out, error = self.module.run_command(
                ["kubectl", "get", *kubeadm.LAST_OBJECTS, f"--kubeconfig={kubeadm.ADMIN}"]
                + ["--namespace=kube-system", "--output=name"]
                + ["--ignore-not-found", "--request-timeout=5s"]
            )
            if code == 0:
                return kubeadm.objects_present(out) or complete_once
            if time.monotonic() >= deadline:
                break
            time.sleep(1)
        if complete_once:
            self.module.fail_json(
                msg="this control plane is initialized, but its API has not answered for"
                f" {self.options['api_timeout']} s: {kubeadm.last_line(error or out)}. Look at"
                " 'journalctl -u kubelet' and 'crictl ps -a' on the host"
            )
        return False

    def kubeadm(self, action: str, text: str) -> None:
        """Run `kubeadm init` or `join` with a configuration that only root can read."""
        handle, name = tempfile.mkstemp(dir="/run", prefix="kubeadm-", suffix=".yaml")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            code, out, error = self.module.run_command(
                kubeadm.command(
                    action,
                    Path(name),
                    self.options["ignore_preflight_errors"],
                    resume=kubeadm.started(),
                )
            )
        finally:
            os.unlink(name)
        if code:
            self.module.fail_json(
                msg=f"kubeadm {action} failed: {kubeadm.failure(error) or kubeadm.failure(out)}",
                stdout=out,
                stderr=error,
            )

    def initialize(self) -> dict[str, Any]:
        """Bring the host to O(state=initialized)."""
        documents = self.options["config"]
        if self.initialized():
            if not self.module.check_mode and not kubeadm.INITIALIZED.exists():
                kubeadm.INITIALIZED.touch(mode=0o600)
            left = self.not_applied(documents)
            result = {"changed": self.clean_tokens(), "joined": True}
            return result | ({"not_applied": left} if left else {})
        if not self.module.check_mode:
            if self.options["encryption_config"]:
                kubeadm_settings.make_encryption_file(
                    self.module, Path(self.options["encryption_config"])
                )
            given = kubeadm.with_own_token(documents, self.options["token_minutes"])
            self.kubeadm("init", "\n---\n".join(json.dumps(doc) for doc in given))
            write_file(
                self.module,
                kubeadm.INITIALIZED,
                kubeadm_settings.initial_settings(documents),
                0o600,
            )
            self.clean_tokens()
        return {"changed": True, "joined": not self.module.check_mode}

    def not_applied(self, documents: list[dict[str, Any]]) -> list[str]:
        """Settings that this cluster was initialized without; a warning names them."""
        note = ""
        if kubeadm.INITIALIZED.exists():
            note = kubeadm.INITIALIZED.read_text(encoding="utf-8")
        left = kubeadm_settings.differences(note, documents)
        if not note.strip():
            # Another tool or an older version initialized it: read the programs' arguments.
            code, out, error = self.module.run_command(
                ["kubectl", "get", "pods", f"--kubeconfig={kubeadm.ADMIN}"]
                + ["--namespace=kube-system", "--selector=tier=control-plane"]
                + ["--output=json", "--request-timeout=30s"]
            )
            if code:
                reason = kubeadm.last_line(error or out)
                self.module.fail_json(msg=f"the control plane's pods cannot be listed: {reason}")
            left = kubeadm_settings.lacking_arguments(documents, json.loads(out)["items"])
        if left:
            self.module.warn(
                f"kubeadm reads its configuration only when it initializes a cluster, and this one"
                f" was initialized without: {', '.join(left)}. That is not applied;"
                " docs/cluster.md, 'Settings of an existing cluster', says how to"
            )
        return left

    def clean_tokens(self) -> bool:
        """Remove join tokens that are no longer needed; whether there were some."""
        try:
            names = kubeadm.left_tokens(self.module.run_command)
            if names and not self.module.check_mode:
                kubeadm.delete_tokens(self.module.run_command, names)
        except RuntimeError as error:
            self.module.fail_json(
                msg=f"join tokens of kubeadm init could not be removed: {error}. Run this again,"
                " or see 'kubeadm token list' on the host"
            )
        return bool(names)

    def token(self) -> dict[str, Any]:
        """Make a token."""
        if self.module.check_mode:
            return {"changed": True, "joined": kubeadm.joined(), "secret": {}}
        try:
            secret = kubeadm.token(self.module.run_command, self.options["token_minutes"])
        except RuntimeError as error:
            self.module.fail_json(msg=f"no join token could be made: {error}")
        return {"changed": True, "joined": kubeadm.joined(), "secret": secret}

    def revoke(self) -> dict[str, Any]:
        """Remove a token."""
        token = self.options["secret"].get("token", "")
        # Check mode's state=token returns none.
        if self.module.check_mode or not token:
            return {"changed": bool(token), "joined": kubeadm.joined()}
        try:
            changed = kubeadm.delete_tokens(self.module.run_command, [kubeadm.token_secret(token)])
        except RuntimeError as error:
            self.module.fail_json(
                msg=f"the join token could not be removed: {error}. It ends by itself; remove it"
                " now with 'kubeadm token delete' on the control plane"
            )
        return {"changed": changed, "joined": kubeadm.joined()}

    def join(self) -> dict[str, Any]:
        """Bring the host to O(state=joined)."""
        if kubeadm.joined():
            return {"changed": False, "joined": True}
        if self.module.check_mode:
            return {"changed": True, "joined": False}
        lacking = [n for n in ("token", "ca_cert_hash") if not self.options["secret"].get(n)]
        if lacking:
            self.module.fail_json(
                msg=f"secret lacks {', '.join(lacking)}: give what state=token returned"
            )
        if kubeadm.bootstrapped():
            # The kubelet got its identity, and the join was interrupted before it saw that. A
            # second join would be refused, because the node is there: finish this one.
            kubeadm.BOOTSTRAP.unlink()
        else:
            base = self.options["config"][0] if self.options["config"] else {}
            text = kubeadm.join_configuration(
                base, self.options["endpoint"], self.options["secret"]
            )
            self.kubeadm("join", text)
        return {"changed": True, "joined": True}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {
                "type": "str",
                "choices": ["initialized", "token", "revoked", "joined", "queried"],
                "required": True,
            },
            "config": {"type": "list", "elements": "dict", "default": []},
            "endpoint": {"type": "str"},
            "secret": {"type": "dict", "no_log": True},
            "encryption_config": {"type": "path"},
            "ignore_preflight_errors": {"type": "list", "elements": "str", "default": []},
            "token_minutes": {"type": "int", "default": 15, "no_log": False},
            "api_timeout": {"type": "int", "default": 120},
        },
        required_if=[
            ("state", "joined", ["endpoint", "secret"]),
            ("state", "revoked", ["secret"]),
        ],
        supports_check_mode=True,
    )
    if module.params["state"] == "initialized" and not module.params["config"]:
        # required_if takes the empty list, which is the default, for a value.
        module.fail_json(msg="state is initialized but config is missing or empty")
    node = Node(module)
    actions = {
        "initialized": node.initialize,
        "token": node.token,
        "revoked": node.revoke,
        "joined": node.join,
    }
    state = module.params["state"]
    if state == "queried":
        module.exit_json(changed=False, joined=kubeadm.joined())
    module.exit_json(**actions[state]())


if __name__ == "__main__":
    main()
