# SPDX-License-Identifier: Apache-2.0
"""Mixing inside one forward pass of any model."""
