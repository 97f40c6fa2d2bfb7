#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
r"""Fine-tune a pretrained encoder to tag words (named entities, parts of speech) with LogitMix.

    python scripts/run_ner.py --model_name_or_path bert-base-cased --train_file train.conll \
        --validation_file dev.conll --test_file test.conll --mix_method logitmix --do_train --do_eval --do_predict \
        --output_dir runs/ner

Sentences come from CoNLL files (a word and its tag per line, a blank line between sentences), from json or parquet
files with the columns `tokens` and `ner_tags`, or from the Hub (`--dataset_name`).
"""

import sys
from functools import partial

from glue_runs.runs import run
from glue_runs.runs.tokens import Tokens

main = partial(run.main, modality=Tokens)

if __name__ == "__main__":
    sys.exit(main())
