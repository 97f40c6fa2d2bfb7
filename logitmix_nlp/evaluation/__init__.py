# SPDX-License-Identifier: Apache-2.0
"""Any Transformers classifier on any labelled rows: logits, figures with intervals, and one report."""
