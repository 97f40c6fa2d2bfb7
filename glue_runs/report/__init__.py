# SPDX-License-Identifier: Apache-2.0
"""Tables, differences, statistics and plots of finished runs."""
