# SPDX-License-Identifier: Apache-2.0
"""GLUE for the library: one record per task, data sources, official scores, leaderboard files."""

import logitmix_nlp  # noqa: F401 (says what is wrong with torchvision before transformers is imported)
from glue_runs.tasks.glue import GLUE_TASKS, GlueTask, get_task

__all__ = ["GLUE_TASKS", "GlueTask", "get_task"]
