# SPDX-License-Identifier: Apache-2.0
"""What the documentation says must run and exist."""

import contextlib
import dataclasses
import importlib
import io
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import tiny
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, TrainerCallback, TrainingArguments

from logitmix_nlp.mixing.mixers import MIXERS
from logitmix_nlp.training.methods import MIX_METHODS
from logitmix_nlp.training.neutral_arguments import NEUTRAL, SCORING

ROOT = Path(__file__).parents[1]
METHODS = sorted((ROOT / "docs" / "methods").glob("*.md"))
PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *METHODS]
OTHERS = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs" / "results").rglob("README.md")]
MODULES = {
    "python -m logitmix_nlp": "logitmix_nlp.commands.{}",
    "python -m glue_runs": "glue_runs.{}.command",
    "python scripts/run_glue.py": "glue_runs.runs.run",
    "python scripts/run_ner.py": "scripts.run_ner",
    "python scripts/run_image_classification.py": "scripts.run_image_classification",
}
FOLDERS = {"run": "grid", "submission": "leaderboard"}


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def numbered(pages: list[Path], language: str) -> list:
    return [
        pytest.param(block, id=f"{page.stem}-{number}")
        for page in pages
        for number, block in enumerate(blocks(page, language))
    ]


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
@pytest.mark.parametrize("snippet", numbered([page for page in PAGES if page not in METHODS], "python"))
def test_snippets_run(bert_base_uncased, snippet):
    data = tiny.rows(4, num_labels=2)
    names = {"train_dataset": data, "eval_dataset": data, "__name__": "snippet"}
    exec(snippet, names)
    if "trainer.train()" in snippet:
        assert isinstance(names["trainer"].callback_handler.callbacks[0], TrainerCallback)
        assert names["trainer"].state.global_step == 3


@pytest.mark.parametrize("snippet", numbered(METHODS, "python"))
def test_paper_snippets_hold_the_presets(tmp_path, monkeypatch, snippet):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(snippet, names)
    args, preset = names["args"], MIX_METHODS[names["args"].mix_method]
    weights = (args.mix_weight, args.cls_weight, args.sim_weight)
    assert weights == (preset.mix_weight, preset.cls_weight, preset.sim_weight)


def test_every_method_has_its_page_and_its_row():
    pages = "".join(page.read_text(encoding="utf-8") for page in METHODS)
    assert [name for name in MIX_METHODS if name != "vanilla" and f'mix_method="{name}"' not in pages] == []
    data = {None: "texts, words, images", "pixel_values": "images", "input_ids": "texts"}
    table = (ROOT / "docs" / "choose.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| \[?`(\w+)`.*? \| (.+?) \| (.+?) \|", table, flags=re.MULTILINE)
    expected = [(name, data[MIXERS[row.mixer].exchanges]) for name, row in MIX_METHODS.items()]
    assert [(name, takes) for name, _, takes in lines if name != "mix_method"] == expected


@cache
def help_of(module: str) -> str:
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        importlib.import_module(module).main(["--help"])
    return text.getvalue()


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """Module and words of each command of the project in the bash blocks of a page."""
    found = []
    for line in "".join(blocks(page, "bash")).replace("\\\n", " ").splitlines():
        program = next((name for name in MODULES if line.startswith(name)), None)
        if program is not None:
            words = shlex.split(line.removeprefix(program), comments=True)
            word = words[0] if "{}" in MODULES[program] else ""
            found.append((MODULES[program].format(FOLDERS.get(word, word)), words))
    return found


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.stem)
def test_flags_of_commands_exist(page, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for module, words in commands(page):
        known = help_of("glue_runs.runs.run") if module == "glue_runs.grid.command" else ""
        missing = [word for word in words if word.startswith("--") and word not in help_of(module) + known]
        assert missing == [], (module, words)


def test_messages_of_the_troubleshooting_page_exist():
    messages = re.findall(r"\*\*`([^`]+)`\*\*", (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8"))
    code = "".join(path.read_text() for path in (ROOT / "logitmix_nlp").rglob("*.py"))
    joined = re.sub(r'"\s*\n\s*f?"', "", code)
    assert len(messages) > 10
    assert [message for message in messages if message not in joined] == []


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_named_files_exist(page):
    text = page.read_text(encoding="utf-8")
    linked = [target for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if not target.startswith("http")]
    named = re.findall(r"`((?:scripts|tests|logitmix_nlp)/[\w/]+\.py)`", text)
    drawn = {"_static/sites.svg", "_static/batch.svg", "settings.md"}  # made by `make docs`
    paths = [page.parent / path for path in linked if path not in drawn] + [ROOT / path for path in named]
    assert [path for path in paths if not path.exists()] == []


def test_every_switch_has_its_row_and_its_test():
    page = (ROOT / "docs" / "switches.md").read_text(encoding="utf-8")
    table, quiet = page.split("## What does not touch training")
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| ") and "| switch |" not in line]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row[1])}
    listed = set(re.findall(r"`(\w+)`", quiet))
    fields = {field.name for field in dataclasses.fields(TrainingArguments)}
    assert fields - named - listed == set()
    assert listed <= (NEUTRAL | SCORING) & fields
    for *_, test, _ in rows:
        path, _, name = test.strip(" `").partition("::")
        assert f"def {name}" in (ROOT / "tests" / path).read_text(encoding="utf-8"), test
