# SPDX-License-Identifier: Apache-2.0
"""Hand-made rows in the official GLUE formats, and a tiny model on disk, for the tests of data and scripts."""

from pathlib import Path

import tiny
from transformers import BertTokenizer

BOM = "\ufeff"
STSB_HEADER = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2"
STSB_START = "main-captions\tMSRvid\t2012test\t0001\tnone\tnone"
QQP_HEADER = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
MNLI_HEADER = (
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
    "sentence2_parse\tsentence1\tsentence2"
)
MNLI_START = "31193\t31193n\tfiction\t( a cat )\t( it sat )\t(ROOT (NP))\t(ROOT (S))"
MNLI_VOTES = "label1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label"

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
    "STS-B/dev.tsv": f"{STSB_HEADER}\tscore\n0\t{STSB_START}\tA cat ran.\tA dog ran.\t3.25\n",
    "STS-B/test.tsv": f"{STSB_HEADER}\n0\t{STSB_START}\tA.\tB.\n1\t{STSB_START}\tIt.\tIt sat.\n",
    "RTE/train.tsv": "index\tsentence1\tsentence2\tlabel\n0\tA cat sat.\tIt sat.\tentailment\n"
    "1\tA cat sat.\tIt ran.\tnot_entailment\n",
    "RTE/dev.tsv": "index\tsentence1\tsentence2\tlabel\n0\tA dog ran.\tIt sat.\tnot_entailment\n",
    "RTE/test.tsv": "index\tsentence1\tsentence2\n0\tA dog.\tIt sat.\n1\tThe dog ran.\tIt ran.\n",
    "QQP/train.tsv": f"{QQP_HEADER}\n133273\t213221\t213222\tIs the cat dull?\tIs it a dull cat?\t1\n"
    '227767\t336684\t336685\t"Was he the cat?\n"\tWas it a "dog"?\t0\n'
    '402555\t536040\t536041\tWho sat?\t"Who ran?\r\n"\t0\n'
    "360472\t364011\t490273\tWho ran?\t\t0\n",
    "QQP/dev.tsv": f"{QQP_HEADER}\n201359\t303345\t303346\tWhy a mat?\tWhy the mat?\t0\n",
    "QQP/test.tsv": 'id\tquestion1\tquestion2\n0\tWould "it sit?\tWould it?\n1\tWho sat?\tWho ran?\n',
    "MNLI/train.tsv": f"{MNLI_HEADER}\tlabel1\tgold_label\n"
    f'0\t{MNLI_START}\tA cat " sat.\tIt sat.\tentailment\tentailment\n'
    f"1\t{MNLI_START}\tA dog ran.\tIt was a cat.\tcontradiction\tcontradiction\n"
    f"2\t{MNLI_START}\tIt ran.\tA dog ran.\tneutral\tneutral\n",
    "MNLI/dev_matched.tsv": f"{MNLI_HEADER}\t{MNLI_VOTES}\n"
    f"0\t{MNLI_START}\tThe cat sat.\tA cat ran.\tneutral\tentailment\tneutral\tneutral\tneutral\tneutral\n"
    f"1\t{MNLI_START}\tIt ran.\tIt sat.\t" + "contradiction\t" * 5 + "contradiction\n",
    "MNLI/dev_mismatched.tsv": f"{MNLI_HEADER}\t{MNLI_VOTES}\n"
    f"0\t{MNLI_START}\tThe mat.\tA mat.\t" + "entailment\t" * 5 + "entailment\n",
    "MNLI/test_matched.tsv": f"{MNLI_HEADER}\n0\t{MNLI_START}\tA dog.\tIt.\n1\t{MNLI_START}\tIt.\tA dog.\n",
    "MNLI/test_mismatched.tsv": f"{MNLI_HEADER}\n0\t{MNLI_START}\tA mat.\tIt sat.\n",
    "QNLI/train.tsv": "index\tquestion\tsentence\tlabel\n0\tWho sat?\tThe cat sat .\tentailment\n"
    '1\tWho ran?\tThe "cat" sat .\tnot_entailment\n',
    "QNLI/dev.tsv": "index\tquestion\tsentence\tlabel\n0\tWho sat?\tA dog ran .\tnot_entailment\n",
    "QNLI/test.tsv": "index\tquestion\tsentence\n0\tWho ran?\tIt ran .\n1\tWho?\tIt .\n",
    "WNLI/train.tsv": "index\tsentence1\tsentence2\tlabel\n0\tThe cat sat on it.\tThe cat sat.\t1\n"
    "1\tIt ran.\tThe mat ran.\t0\n",
    "WNLI/dev.tsv": "index\tsentence1\tsentence2\tlabel\n0\tIt sat.\tThe dog sat.\t0\n",
    "WNLI/test.tsv": "index\tsentence1\tsentence2\n0\tThe dog ran.\tIt ran.\n",
    "diagnostic/diagnostic.tsv": "index\tsentence1\tsentence2\n0\tThe cat sat.\tThe cat did not sit.\n"
    "1\tThe cat did not sit.\tThe cat sat.\n",
}

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] the a cat dog sat ran it on mat fine dull not said he was . , ' \""


def write_text(path: Path, text: str) -> Path:
    """Write a file byte for byte, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8"))
    return path


def write_glue(folder: Path) -> Path:
    """The official tree of all tasks, a few rows each."""
    for name, text in GLUE_FILES.items():
        write_text(folder / name, text)
    return folder


def write_model(folder: Path, num_labels: int = 2, **config) -> Path:
    """A tiny random BERT classifier with its tokenizer, as `save_pretrained` leaves them."""
    tiny.bert(num_labels=num_labels, layers=2, **config).save_pretrained(folder)
    tokenizer = BertTokenizer(vocab={token: place for place, token in enumerate(WORDS.split())}, model_max_length=32)
    tokenizer.save_pretrained(folder)
    return folder
