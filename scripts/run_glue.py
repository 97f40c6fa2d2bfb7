#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
r"""Fine-tune a pretrained encoder on a GLUE task, or on your own texts, with LogitMix.

    python scripts/run_glue.py --model_name_or_path bert-base-uncased --task_name cola --mix_method logitmix \
        --do_train --do_eval --do_predict --max_seq_length 128 --output_dir runs/cola
    python scripts/run_glue.py config.yaml --seed 2 --output_dir runs/cola-2    # flags override the file

Data comes from the Hub (`--task_name`), from the official GLUE files (`--task_name` with `--data_dir`), from another
dataset (`--dataset_name`) or from your files (`--train_file --validation_file --test_file`).
"""

import sys

from glue_runs.runs.run import main

if __name__ == "__main__":
    sys.exit(main())
