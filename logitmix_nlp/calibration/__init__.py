# SPDX-License-Identifier: Apache-2.0
"""Calibration of a classifier, during training and after it."""
