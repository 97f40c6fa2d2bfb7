# SPDX-License-Identifier: Apache-2.0
"""What the documentation says must run and exist."""

import re
from pathlib import Path

import pytest
import tiny
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, TrainerCallback

from logitmix_nlp.mixing.mixers import MIXERS
from logitmix_nlp.training.methods import MIX_METHODS

ROOT = Path(__file__).parents[1]


def snippets(name: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), flags=re.DOTALL)


@pytest.fixture
def bert_base_uncased(tmp_path, monkeypatch):
    """Tiny model and tokenizer where a snippet looks for `bert-base-uncased`."""
    monkeypatch.chdir(tmp_path)
    tiny.bert(layers=6, num_labels=2).save_pretrained("bert-base-uncased")
    vocabulary = {"[PAD]": 0, "[UNK]": 1}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    fast.save_pretrained("bert-base-uncased")


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")
@pytest.mark.parametrize("number", range(len(snippets("README.md"))))
def test_readme_snippets_run(bert_base_uncased, number):
    data = tiny.rows(4, num_labels=2)
    names = {"train_dataset": data, "eval_dataset": data}
    exec(snippets("README.md")[number], names)
    if "trainer" in names:
        assert isinstance(names["trainer"].callback_handler.callbacks[0], TrainerCallback)
        assert names["trainer"].state.global_step == 3


@pytest.mark.parametrize("number", range(len(snippets("PAPERS.md"))))
def test_paper_snippets_hold_the_presets(tmp_path, monkeypatch, number):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(snippets("PAPERS.md")[number], names)
    args, preset = names["args"], MIX_METHODS[names["args"].mix_method]
    weights = (args.mix_weight, args.cls_weight, args.sim_weight)
    assert weights == (preset.mix_weight, preset.cls_weight, preset.sim_weight)


def test_every_method_has_its_paper():
    papers = (ROOT / "PAPERS.md").read_text()
    assert [name for name in MIX_METHODS if name != "vanilla" and f'mix_method="{name}"' not in papers] == []


def test_the_table_of_methods_is_that_of_the_code():
    data = {None: "texts, images", "pixel_values": "images", "input_ids": "texts"}
    lines = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    expected = [(name, data[MIXERS[row.mixer].exchanges]) for name, row in MIX_METHODS.items()]
    assert [(name, takes) for name, _, takes in lines if name != "mix_method"] == expected


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "CONTRIBUTING.md",
        "PAPERS.md",
        "CHANGELOG.md",
        "docs/results/glue-minilm/README.md",
        "docs/results/cifar10/README.md",
        "docs/results/text/README.md",
    ],
)
def test_links_and_named_files_exist(name):
    text = (ROOT / name).read_text()
    linked = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if not target.startswith("http")]
    named = re.findall(r"`((?:scripts|tests|logitmix_nlp)/[\w/]+\.py)`", text)
    paths = [(ROOT / name).parent / path for path in linked] + [ROOT / path for path in named]
    assert [path for path in paths if not path.exists()] == []
