# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for publishers: they serve a bundle that was built as if it were upstream's."""
