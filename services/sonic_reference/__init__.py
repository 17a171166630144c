# SPDX-License-Identifier: Apache-2.0
"""A reference stand-in for the vendor's images: same ports, endpoints, metrics, environment.

It speaks for real, on a CPU, so that a rehearsal, a load test or a failure test of a site means
something. Three services share this package: ``sonic_reference.api``,
``sonic_reference.license_proxy`` and ``sonic_reference.worker``; each runs by ``python3 -m``.
docs/nats-protocol.md says how they talk.
"""
