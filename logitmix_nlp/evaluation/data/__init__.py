# SPDX-License-Identifier: Apache-2.0
"""Where rows come from: data files, `save_to_disk`, the Hub; and what their columns hold."""
