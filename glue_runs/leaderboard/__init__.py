# SPDX-License-Identifier: Apache-2.0
"""Prediction files for the GLUE leaderboard."""
