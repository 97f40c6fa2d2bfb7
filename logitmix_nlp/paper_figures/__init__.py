# SPDX-License-Identifier: Apache-2.0
"""What the papers' figures show, computed: arrays and numbers, no pictures (those are in `reports.plots`)."""
