# SPDX-License-Identifier: Apache-2.0
"""One run: arguments, recipe, driver and results."""
