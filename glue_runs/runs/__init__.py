# SPDX-License-Identifier: Apache-2.0
"""One run, of texts or images: arguments, data, recipe, driver and results."""
