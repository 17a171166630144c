# SPDX-License-Identifier: Apache-2.0
#
# LAB=name picks one of several labs that stand side by side: make lab LAB=mine
# LAB_SOURCES=upstream takes official packages and images, LAB_SOURCES=build compiles them (docs/lab.md)
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help bootstrap lab lab-info lab-down bench test lint unit sanity molecule soak docs changelog lock build

activate := source .lab/env && export PATH="$$VENV/bin:$$GOBIN_DIR:$$PATH"

help: ## Show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18
	@echo '  LAB=name picks one of several labs that stand side by side: make lab LAB=mine'
	@echo '  LAB_SOURCES=upstream takes official packages and images, =build compiles them; without it, make lab looks'

bootstrap: ## Install what the rest needs: Debian packages, a Python environment, Go
	@lab/bootstrap >/dev/null

lab: bootstrap ## Bare hosts to speech on this machine (again on a running lab: nothing changes)
	@$(activate) && exec python -m lab up

lab-info: bootstrap ## Where the lab is and how to reach it, as JSON
	@$(activate) && exec python -m lab info

lab-down: bootstrap ## Remove everything the lab made, and nothing else
	@$(activate) && exec python -m lab down

bench: bootstrap ## Measure the lab (seconds, task results, memory), and the services
	@$(activate) && exec python -m lab bench

test: bootstrap ## Every check, then the whole way to speech on a lab of its own
	@$(activate) && exec python -m tools.check

lint: bootstrap ## Only yamllint, ansible-lint, ruff, mypy, the changelog, the reference pages and the wording
	@$(activate) && exec python -m tools.check lint

unit: bootstrap ## Only the unit tests
	@$(activate) && exec python -m tools.check unit

sanity: bootstrap ## Only ansible-test sanity
	@$(activate) && exec python -m tools.check sanity

molecule: bootstrap ## Only molecule's default scenario: the lab, converged twice, verified, removed
	@$(activate) && exec python -m tools.check molecule

soak: bootstrap ## On a running lab: the long tests that make test leaves out (half an hour)
	@$(activate) && export SONIC_FUZZ_CASES="$${SONIC_FUZZ_CASES:-10000}" && exec python -m pytest -v -m soak tests/testinfra tests/drivers tests/browser

docs: bootstrap ## Write docs/reference/ from the roles' and the modules' specs
	@$(activate) && exec python -m tools.reference

changelog: bootstrap ## Write CHANGELOG.rst for galaxy.yml's version from changelogs/fragments/
	@$(activate) && cd .lab/collections/ansible_collections/baremetal/sonic && \
	    exec antsibull-changelog release --update-existing --reload-plugins --refresh-plugins

lock: bootstrap ## Write requirements/lab.txt from lab.in, and tidy the bundle's go.mod
	@$(activate) && python -m tools.lock_requirements && exec python -m tools.lock_go

build: bootstrap ## Build the collection's archive
	@$(activate) && exec ansible-galaxy collection build --force --output-path .lab/build
