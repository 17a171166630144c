# SPDX-License-Identifier: Apache-2.0
"""The API server, a reference stand-in for the vendor's image: HTTP in, jobs to NATS, audio out."""
