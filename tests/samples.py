# SPDX-License-Identifier: Apache-2.0
"""Hand-made rows in the official GLUE formats, and a tiny model on disk, for the tests of data and scripts."""

from pathlib import Path

import tiny
from transformers import BertTokenizer

BOM = "\ufeff"
STSB_HEADER = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2"
STSB_START = "main-captions\tMSRvid\t2012test\t0001\tnone\tnone"

GLUE_FILES = {
    "CoLA/train.tsv": 'gj04\t1\t\tThe "cat sat.\ngj04\t0\t*\tCat the sat.\n'
    'bc01\t1\t\tA cat, a "mat".\nbc01\t0\t*\tOn on.\n',
    "CoLA/dev.tsv": "gj04\t1\t\tThe dog sat.\ngj04\t0\t*\tDog dog the.\nw_80\t1\t\tIt sat.",
    "CoLA/test.tsv": "index\tsentence\n0\tThe dog ran.\n1\tRan the.\n2\tIt ran.\n",
    "SST-2/train.tsv": "sentence\tlabel\na dull mat \t0\na fine cat \t1\nfine \t1\n",
    "SST-2/dev.tsv": "sentence\tlabel\nnot a dull cat \t1\ndull \t0\n",
    "SST-2/test.tsv": "index\tsentence\n0\ta fine mat\n1\tdull\n",
    "MRPC/train.tsv": BOM
    + "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    + '1\t7\t8\tHe said , " the cat sat .\tThe cat sat , he said .\n0\t9\t10\tA dog ran .\t" A cat sat .\n',
    "MRPC/dev.tsv": BOM + "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t1\t2\tIt sat .\tIt was sat .\r\n",
    "MRPC/test.tsv": BOM + "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t3\t4\tIt ran .\tIt ran .\n1\t5\t6\tA\tB\n",
    "STS-B/train.tsv": f"{STSB_HEADER}\tscore\n0\t{STSB_START}\tA cat sat.\tA dog sat.\t2.500\n"
    f"1\t{STSB_START}\tIt ran.\tIt ran.\t5.000\n2\t{STSB_START}\tA.\tThe dog.\t0.000\n",
    "STS-B/dev.tsv": f"{STSB_HEADER}\tscore\n0\t{STSB_START}\tA cat ran.\tA dog ran.\t3.2\n",
    "STS-B/test.tsv": f"{STSB_HEADER}\n0\t{STSB_START}\tA.\tB.\n1\t{STSB_START}\tIt.\tIt sat.\n",
    "RTE/train.tsv": "index\tsentence1\tsentence2\tlabel\n0\tA cat sat.\tIt sat.\tentailment\n"
    "1\tA cat sat.\tIt ran.\tnot_entailment\n",
    "RTE/dev.tsv": "index\tsentence1\tsentence2\tlabel\n0\tA dog ran.\tIt sat.\tnot_entailment\n",
    "RTE/test.tsv": "index\tsentence1\tsentence2\n0\tA dog.\tIt sat.\n1\tThe dog ran.\tIt ran.\n",
}

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] the a cat dog sat ran it on mat fine dull not said he was . , ' \""


def write_text(path: Path, text: str) -> Path:
    """Write a file byte for byte, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8"))
    return path


def write_glue(folder: Path) -> Path:
    """The official tree of all five tasks, a few rows each."""
    for name, text in GLUE_FILES.items():
        write_text(folder / name, text)
    return folder


def write_model(folder: Path, num_labels: int = 2, **config) -> Path:
    """A tiny random BERT classifier with its tokenizer, as `save_pretrained` leaves them."""
    tiny.bert(num_labels=num_labels, layers=2, **config).save_pretrained(folder)
    tokenizer = BertTokenizer(vocab={token: place for place, token in enumerate(WORDS.split())}, model_max_length=32)
    tokenizer.save_pretrained(folder)
    return folder
