# SPDX-License-Identifier: Apache-2.0
"""The options that the sites' processes take over."""

from __future__ import annotations

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts import cli


def test_all_options_that_matter_are_passed_on() -> None:
    options, problems = cli.arguments(
        {
            "inventory": ("a/hosts.yml", "b/"),
            "extra_vars": ("@vars.yml", "x=1"),
            "vault_ids": ("prod@file",),
            "become": True,
            "become_password_file": "/run/pw",
            "ssh_common_args": "-o X=y",
            "verbosity": 2,
            "tags": ("all",),
            "subset": "oslo",
        }
    )
    assert not problems
    assert options == [
        *("--inventory", "a/hosts.yml", "--inventory", "b/"),
        *("--extra-vars", "@vars.yml", "--extra-vars", "x=1", "--vault-id", "prod@file"),
        *("--become", "--become-password-file=/run/pw", "--ssh-common-args=-o X=y", "-vv"),
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"become_ask_pass": True}, "use --become-password-file"),
        ({"ask_pass": True}, "use --connection-password-file"),
        ({"ask_vault_pass": True}, "use --vault-password-file"),
        ({"vault_ids": ["prod@prompt"]}, "--vault-id prod@prompt"),
        ({"tags": ["nats"]}, "--tags"),
        ({"step": True}, "--step"),
    ],
)
def test_what_a_process_cannot_do_is_refused(given: dict[str, object], words: str) -> None:
    _options, [problem] = cli.arguments(given)
    assert words in problem


def test_variables_of_the_run_are_no_part_of_the_change() -> None:
    assert cli.is_inventory("site_release_tag")
    assert not cli.is_inventory("ansible_facts")
    assert not cli.is_inventory("rollout_parallel")
    assert not cli.is_inventory("hostvars")
