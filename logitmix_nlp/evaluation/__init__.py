# SPDX-License-Identifier: Apache-2.0
"""Any Transformers classifier on any labelled rows: logits, metrics with intervals, and one report."""
