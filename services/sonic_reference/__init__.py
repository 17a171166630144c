# SPDX-License-Identifier: Apache-2.0
"""A reference stand-in for the vendor's images: same ports, endpoints, metrics, environment.

It produces real speech on a CPU, so that a site can be rehearsed, loaded and tested for failures.
Four services share this package: ``sonic_reference.api``, ``sonic_reference.license_proxy``,
``sonic_reference.worker`` and ``sonic_reference.artifact_sync``. Each runs by ``python3 -m``.
docs/nats-protocol.md describes their messages.
"""
