# SPDX-License-Identifier: Apache-2.0
"""The defaults for texts and the tables of README are what the rows of the study of texts say, by its own rules."""

import json
from pathlib import Path

import tiny

from glue_runs.runs.recipe import method_flags
from glue_runs.study.plan import read_study
from logitmix_nlp.mixing.sites import find_sites
from logitmix_nlp.training.methods import get_method

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "results" / "text"
SUMMARY = json.loads((PAGE / "summary.json").read_text(encoding="utf-8"))
PAPER = "logitmix, last"
PLACES = {
    "BBC headlines, 5 classes, 50 labels each": ("bbc", "50"),
    "BBC headlines, 5 classes, 10 labels each": ("bbc", "10"),
    "the same, 30% of the labels wrong": ("bbc", "10, 30% wrong"),
    "Banking77, 77 classes, 10 labels each": ("banking77", "10"),
    "CoLA, 2 classes, 400 labels each": ("cola", "400"),
    "MRPC, 2 classes, 400 labels each": ("mrpc", "400"),
}


def verdicts(method: str, reference: str, figure: str) -> set[str]:
    """What the comparisons of question (e) say, over its tasks."""
    return {
        one["verdict"]
        for one in SUMMARY["families"]["e"]["comparisons"]
        if (one["method"], one["reference"], one["figure"]) == (method, reference, figure)
    }


def better(reference: str) -> list[str]:
    """Methods that the rule of (e) calls better: NLL after temperature found lower, score not found lower."""
    methods = dict.fromkeys(
        one["method"] for one in SUMMARY["families"]["e"]["comparisons"] if one["reference"] == reference
    )
    return [
        method
        for method in methods
        if "better" in verdicts(method, reference, "after_nll")
        and "worse" not in verdicts(method, reference, "after_nll") | verdicts(method, reference, "score")
    ]


def seeds_at(place: tuple[str, str]) -> dict[str, tuple[list[int], float]]:
    """Seeds, at least three, and NLL after temperature of each method on a task and regime."""
    rows = [row for row in SUMMARY["means"] if (row["task"], row["regime"]) == place and len(row["seeds"]) >= 3]
    return {row["method"]: (row["seeds"], row["after_nll"]) for row in rows}


def site_of_the_rule() -> str:
    """Of the better sites, that of the lowest mean rank over the tasks, each of which it must have been run on."""
    places = {(one["task"], one["regime"]) for one in SUMMARY["families"]["e"]["comparisons"]}
    tables = [table for table in map(seeds_at, places) if PAPER in table]
    sites = [site for site in better(PAPER) if all(site in table for table in tables)]
    ranks = dict.fromkeys(sites, 0)
    for table in tables:
        assert len({tuple(table[site][0]) for site in sites}) == 1  # of the same seeds
        for site in sites:
            ranks[site] += sum(table[other][1] < table[site][1] for other in sites)
    return min(sites, key=ranks.__getitem__)


def settings(method: str) -> dict:
    """Flags of a method of the study."""
    study = read_study(PAGE / "study.yaml")
    return method_flags(study.values["methods"][method]["spec"], {})


def test_the_default_site_is_the_one_that_the_rule_picks():
    best = site_of_the_rule()
    model = tiny.bert(layers=6)
    assert find_sites(model, get_method("logitmix").mix_site) == find_sites(model, settings(best)["mix_site"])


def test_the_papers_site_has_a_name_of_its_own():
    model = tiny.bert(layers=6)
    assert find_sites(model, get_method("logitmix_m").mix_site) == find_sites(model, settings(PAPER)["mix_site"])


def test_the_default_alpha_is_the_papers_as_no_other_was_found_better():
    assert not [name for name in (*better("logitmix, embeddings"), *better("logitmix, middle")) if "α" in name]
    assert get_method("logitmix").mix_alpha == settings(PAPER)["mix_alpha"] == 3.0


def test_the_first_table_of_readme_is_of_the_rows():
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## When it helps")[2].partition("\n## ")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    header, _, *table = lines
    rows = {(row["task"], row["regime"], row["method"]): row for row in SUMMARY["means"]}
    assert len(table) >= 3
    for place, *cells in table:
        for title, cell in zip(header[1:], cells, strict=True):
            row = rows[(*PLACES[place], title.lower())]
            assert len(row["seeds"]) >= 3, (place, title)
            assert row["seeds"] == rows[(*PLACES[place], "vanilla")]["seeds"], (place, title)
            assert cell == f"{row['after_nll']:.3f} ({100 * row['score']:.1f})", (place, title)
