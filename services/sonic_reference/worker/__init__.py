# SPDX-License-Identifier: Apache-2.0
"""The model worker, a reference stand-in for the vendor's image: jobs from NATS, speech back."""
