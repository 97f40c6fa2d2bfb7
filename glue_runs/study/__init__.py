# SPDX-License-Identifier: Apache-2.0
"""A study as code: one file fixes data, methods, seeds, budgets and analysis before the runs."""
