# SPDX-License-Identifier: Apache-2.0
"""What a task is: records, readers and scores."""

from glue_runs.tasks.glue import GLUE_TASKS, GlueTask, get_task

__all__ = ["GLUE_TASKS", "GlueTask", "get_task"]
