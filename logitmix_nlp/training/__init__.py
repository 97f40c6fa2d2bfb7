# SPDX-License-Identifier: Apache-2.0
"""Training: arguments, methods, checkpoints and what the trainer is made of."""
