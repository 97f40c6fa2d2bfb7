#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
r"""Train an image classifier, pretrained or from scratch, with CutMix, PuzzleMix, LogitMix and their relatives.

    python scripts/run_image_classification.py --mix_method logitmix_c --do_train --do_eval --output_dir runs/digits
    python scripts/run_image_classification.py --data_dir cifar10 --config_name resnet_small_stem --recipe cutmix \
        --mix_method logitmix_c --do_train --do_eval --output_dir runs/cifar10

Images come from scikit-learn's digits (no source given), the Hub (`--dataset_name`), folders with one folder per
class (`--train_dir --validation_dir`), or parquet files (`--train_file --validation_file`, or a folder of them:
`--data_dir`).
"""

import sys
from functools import partial

from glue_runs.runs import run
from glue_runs.runs.images import Images

main = partial(run.main, modality=Images)

if __name__ == "__main__":
    sys.exit(main())
