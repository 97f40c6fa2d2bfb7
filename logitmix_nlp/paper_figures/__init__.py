# SPDX-License-Identifier: Apache-2.0
"""The papers' figures: for each a module that computes it and draws it."""
