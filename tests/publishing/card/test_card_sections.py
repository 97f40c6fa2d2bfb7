# SPDX-License-Identifier: Apache-2.0
"""A card that a person has edited keeps every word of theirs."""

import logging

import card_runs
import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData, metadata_load

from logitmix_nlp.publishing.card import write_card
from logitmix_nlp.publishing.card.facts import DatasetFacts, EvaluationFacts, Metric
from logitmix_nlp.publishing.card.write import MarkError, merge_body, merge_header, sections

BODY = "# T\n\n<!-- logitmix:begin a -->\nold a\n<!-- logitmix:end a -->\n\nmine\n"
NEW = BODY.replace("old a", "new a") + "<!-- logitmix:begin b -->\nb\n<!-- logitmix:end b -->\n"


def evaluated(accuracy: float, **changes):
    """Facts with one result."""
    evaluation = EvaluationFacts(DatasetFacts("d"), 50, (Metric("accuracy", accuracy),))
    return card_runs.facts(evaluations=(evaluation,), missing=None, **changes)


def test_an_interval_that_excludes_its_figure_says_so_in_the_cell(tmp_path):
    metrics = (Metric("ece", 0.1, 0.0, 0.05), Metric("nll", 0.1, 0.0, 0.2), Metric("accuracy", 0.5))
    evaluation = EvaluationFacts(DatasetFacts("d"), 50, metrics, n_resamples=100)
    text = write_card(tmp_path, facts=card_runs.facts(evaluations=(evaluation,), missing=None)).read_text()
    cells = [line.split(" | ")[1:] for line in text.splitlines() if line.startswith(("| ECE", "| NLL", "| Acc"))]
    assert cells == [
        ["0.1000", "[0.0000, 0.0500] (excludes the value) |"], ["0.1000", "[0.0000, 0.2000] |"], ["0.5000", "– |"],
    ]  # fmt: skip


def test_only_the_text_between_marks_is_written_anew():
    assert merge_body(BODY, NEW) == BODY.replace("old a", "new a")


def test_a_section_whose_marks_are_gone_is_not_put_back():
    assert "begin b" not in merge_body(BODY, NEW)
    assert merge_body("only mine\n", NEW) == "only mine\n"


def test_a_section_that_today_s_card_lacks_is_emptied():
    assert merge_body(BODY, "none") == BODY.replace("\nold a\n", "\n")


def test_line_breaks_of_the_file_are_kept():
    assert merge_body(BODY.replace("\n", "\r\n"), NEW) == BODY.replace("old a", "new a").replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("<!-- logitmix:begin a -->\nx", "'a' begins, but does not end"),
        ("x\n<!-- logitmix:end a -->", "line 2 of the text: section 'a' ends, but it is not open"),
        ("<!-- logitmix:begin a --><!-- logitmix:begin b -->", "'b' begins, but 'a' is still open"),
        ("<!-- logitmix:begin a --><!-- logitmix:end b -->", "'b' ends, but it is not open"),
        (BODY + BODY, "'a' was there before"),
        ("<!-- logitmix: begin a -->", "not a whole mark"),
        ("<!-- logitmix:begin a", "not a whole mark"),
        ("<!--logitmix:begin a-->", "not a whole mark"),
    ],
)
def test_damaged_marks_are_named(body, why):
    with pytest.raises(MarkError, match=why):
        sections(body)


@pytest.mark.parametrize("damage", ["<!-- logitmix:end results -->", "<!-- logitmix:begin method -->", "tags:"])
def test_a_damaged_card_is_left_alone_with_a_warning(tmp_path, caplog, damage):
    card = write_card(tmp_path, facts=evaluated(0.5))
    card.write_text(card.read_text().replace(damage, "tags: [" if damage == "tags:" else "", 1))
    before = card.read_bytes()
    with caplog.at_level(logging.WARNING):
        assert write_card(tmp_path, facts=evaluated(0.75)) == card
    assert card.read_bytes() == before
    assert "is left as it is, so its results may be out of date" in caplog.text


def test_edits_of_a_whole_card_are_kept(tmp_path):
    card = write_card(tmp_path, facts=evaluated(0.5))
    text = card.read_text().replace("# demo", "# A better title\n\nBy me, for **you**.")
    start, end = text.index("<!-- logitmix:begin limits -->"), text.index("<!-- logitmix:begin citation -->")
    text = text[:start] + "## My own limits\n\n" + text[end:] + "\n## Thanks\n\nto all.\n"
    text = text.replace("tags:\n", "license: mit  # asked\ntags:\n- mine\n")
    card.write_text(text)
    write_card(tmp_path, facts=evaluated(0.75, license="apache-2.0", base_model="ann/base", base_name="ann/base"))
    new = card.read_text()
    for mine in (
        "# A better title\n\nBy me, for **you**.",
        "## My own limits",
        "## Thanks\n\nto all.\n",
        "mit  # asked",
    ):
        assert mine in new
    assert "| Accuracy | 0.7500 |" in new
    assert "0.5000" not in new
    assert "logitmix:begin limits" not in new
    metadata = metadata_load(card)
    assert (metadata["license"], metadata["base_model"]) == ("mit", "ann/base")
    assert metadata["tags"] == ["mine", "logitmix-nlp", "vanilla"]
    assert metadata["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.75
    write_card(tmp_path, facts=evaluated(0.75, license="apache-2.0", base_model="ann/base", base_name="ann/base"))
    assert card.read_text() == new


def test_a_card_of_somebody_else_keeps_its_text_and_gets_the_results_in_its_header(tmp_path, caplog):
    card = tmp_path / "README.md"
    card.write_bytes(b"\xef\xbb\xbf# Mine\r\n\r\nAll of it.\r\n")
    with caplog.at_level(logging.WARNING):
        write_card(tmp_path, facts=evaluated(0.5))
    assert "has no sections of logitmix-nlp" in caplog.text
    assert card.read_bytes().endswith(b"\r\n---\r\n\r\n# Mine\r\n\r\nAll of it.\r\n")
    assert ModelCard.load(card).data.eval_results[0].metric_value == 0.5


def test_keys_of_the_header_stay_with_comments_order_and_layout():
    first = "# made by hand\nlicense: mit\n\nlanguage: [en, de]   # both\n"
    results, extra = "model-index:\n- name: x\n  results: []\n", "extra:\n  deep: 1\n"
    ours = {"tags": ["a"], "model-index": [{"name": "x", "results": [1]}]}
    new = {"language": ["fr"], "library_name": "transformers", **ours}
    text = merge_header(first + results + extra, new)
    assert text.startswith(first + extra)
    kept = {"license": "mit", "language": ["en", "de"], "extra": {"deep": 1}}
    assert yaml.safe_load(text) == {**kept, **{name: new[name] for name in ("library_name", "tags", "model-index")}}


def test_results_with_a_source_are_somebody_else_s_and_stay():
    theirs = {"task": {"type": "t"}, "metrics": [], "source": {"url": "https://example.org"}}
    stale = {"task": {"type": "t"}, "metrics": [{"type": "accuracy", "value": 0.1}]}
    old = yaml.safe_dump({"model-index": [{"name": "x", "results": [stale, theirs]}]})
    merged = yaml.safe_load(merge_header(old, {"model-index": [{"name": "x", "results": [{"new": 1}]}]}))
    assert merged == {"model-index": [{"name": "x", "results": [{"new": 1}, theirs]}]}
    assert yaml.safe_load(merge_header(old, {}))["model-index"] == [{"name": "x", "results": [theirs]}]


def test_tags_of_another_method_go_and_those_of_a_person_stay():
    merged = merge_header("tags: [mine, mixup]", {"tags": ["logitmix"]}, retired_tags={"mixup"})
    assert yaml.safe_load(merged) == {"tags": ["mine", "logitmix"]}


@pytest.mark.parametrize("header", ["- a\n- b", "a: [", "{license: mit, tags: [x]}", "model-index: 3"])
def test_headers_that_cannot_be_merged_safely_are_refused(header):
    with pytest.raises(MarkError, match="header"):
        merge_header(header, {"tags": ["a"]})


def test_the_empty_form_of_peft_is_replaced_but_not_once_somebody_filled_it_in(tmp_path):
    empty = ModelCard.from_template(ModelCardData(library_name="peft"))
    form = f"{empty}\n### Framework versions\n\n- PEFT 0.21.2"
    card = tmp_path / "README.md"
    card.write_text(form)
    write_card(tmp_path, facts=evaluated(0.5))
    assert "logitmix:begin results" in card.read_text()
    card.write_text(form.replace("[More Information Needed]", "By me.", 1))
    write_card(tmp_path, facts=evaluated(0.5))
    assert "By me." in card.read_text()
    assert "logitmix:begin results" not in card.read_text()
