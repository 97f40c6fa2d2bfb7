# SPDX-License-Identifier: Apache-2.0
"""Many runs: plan, executors, worker and progress."""
