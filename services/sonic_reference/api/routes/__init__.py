# SPDX-License-Identifier: Apache-2.0
"""The API server's endpoints; :mod:`sonic_reference.api.app` has the table of their paths."""
