# SPDX-License-Identifier: Apache-2.0
"""GLUE for the library: one record per task, data sources, official scores, leaderboard files."""

from glue_runs.tasks import GLUE_TASKS, GlueTask, get_task

__all__ = ["GLUE_TASKS", "GlueTask", "get_task"]
