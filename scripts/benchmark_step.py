#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Time a LogitMix step at each site, relative to a plain step of the same model in the same run.

    python scripts/benchmark_step.py --model sentence-transformers/all-MiniLM-L6-v2 --device cpu
    python scripts/benchmark_step.py --model bert-base --device cuda --dtype bf16 --batch_size 32 --length 128

A step is forward, loss, backward and AdamW. Beside each site stands its arithmetic limit, 1 + the share of the layers
behind it. Two naive forms are timed, too: three forward passes f(x1), f(x2), f(x_mix), and one pass of all 2B rows
through all layers. At the first site half of the mixtures are timed as well (mix_share 0.5); and ssmix and logitmix_s,
beside a loop over rows with a backward pass of its own for the saliency, as the authors of SSMix have it.
Variants take turns in every round, so that a machine that slows down slows all of them; medians are printed. Peak
memory is what a step holds at most beyond weights and optimizer.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace

import torch
import transformers
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForSequenceClassification, BertConfig, PreTrainedModel

from logitmix_nlp.functional import MixPlan, mixing_loss_parts, sample_plan, supervised_loss
from logitmix_nlp.mixing.mixers import draw_mixture
from logitmix_nlp.mixing.probe import probe
from logitmix_nlp.mixing.rows import join_rows, mixed_inputs, take_rows
from logitmix_nlp.mixing.site_mixer import SiteMixer
from logitmix_nlp.mixing.sites import INPUT, Site, find_sites, list_sites
from logitmix_nlp.training.methods import MIX_METHODS, LossWeights

WEIGHTS = LossWeights(1.0, 1.0, 1.0)
TOKENIZER = SimpleNamespace(
    all_special_ids=[], **{f"{name}_token_id": None for name in ("unk", "bos", "eos", "cls", "sep", "pad")}
)
SHAPES = {
    "bert-base": {},
    "bert-large": {
        "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
    },
}  # fmt: skip
# In plain steps, of which a forward pass is a third: what SSMix must do, and what its authors do.
SSMIX_LIMIT, SSMIX_LOOP = 2 + 1 / 3, 3.0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default="bert-base", help="Folder or Hub name; bert-base and bert-large have random weights."
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, …")
    parser.add_argument("--dtype", default="fp32", choices=["fp32", "bf16"], help="bf16 runs under autocast.")
    parser.add_argument("--compile", action="store_true", help="torch.compile; without ssmix, which it cannot do.")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--length", type=int, default=128, help="Tokens per row, without padding.")
    parser.add_argument("--rounds", type=int, default=11, help="Timed rounds after two for warm-up.")
    parser.add_argument("--sites", default=None, help="Comma-separated; all layers and the embeddings if not given.")
    parser.add_argument("--output", default="runs/benchmark_step", help="Folder for results.json and step_time.png.")
    return parser.parse_args(arguments)


def load(options: argparse.Namespace) -> PreTrainedModel:
    """Load the model in training mode; those of `SHAPES` have random weights."""
    if options.model in SHAPES:
        model = AutoModelForSequenceClassification.from_config(BertConfig(num_labels=2, **SHAPES[options.model]))
    else:
        model = AutoModelForSequenceClassification.from_pretrained(options.model, num_labels=2)
    return model.to(options.device).train()


class Steps:
    """The variants of a training step on one batch."""

    def __init__(self, model: PreTrainedModel, mixer: SiteMixer, options: argparse.Namespace):
        shape, device = (options.batch_size, options.length), options.device
        ids = torch.randint(1000, min(model.config.vocab_size, 30000), shape, device=device)
        self.inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        self.labels = torch.randint(2, shape[:1], device=device)
        self.model, self.mixer, self.options = torch.compile(model) if options.compile else model, mixer, options
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)

    def plain(self) -> torch.Tensor:
        """Cross-entropy of the clean rows."""
        return supervised_loss(self.model(**self.inputs).logits, self.labels)

    def stock(self) -> torch.Tensor:
        """What the stock Trainer does: the loss of the model's own forward pass."""
        return self.model(**self.inputs, labels=self.labels).loss

    def mixup(self, site) -> torch.Tensor:
        """Mixed rows alone behind the site."""
        plan = self.plan()
        logits = self.model(**self.mixer.activate(self.inputs, plan, site, keep_clean=False)).logits
        return self.loss(None, logits[-self.options.batch_size :], plan, LossWeights(1.0, 0.0, 0.0))

    def logitmix(self, site, share: float = 1.0) -> torch.Tensor:
        """One forward pass that shares the layers before the site."""
        plan = self.plan(share)
        rows = self.options.batch_size
        logits = self.model(**self.mixer.activate(self.inputs, plan, site, keep_clean=True)).logits
        return self.loss(logits[:rows], logits[rows:], plan)

    def three_passes(self, site) -> torch.Tensor:
        """f(x1), f(x2) and f(x_mix) one after the other."""
        plan = self.plan()
        first = self.model(**self.inputs).logits
        second = self.model(**take_rows(self.inputs, self.options.batch_size, plan.index)).logits
        mixed = self.model(**self.mixer.activate(self.inputs, plan, site, keep_clean=False)).logits
        return self.loss(first, mixed[-self.options.batch_size :], plan) + 0.0 * second.sum()

    def doubled(self) -> torch.Tensor:
        """All 2B rows through all layers (the arithmetic only; nothing is mixed)."""
        plan, rows = self.plan(), self.options.batch_size
        logits = self.model(**join_rows(self.inputs, mixed_inputs(self.inputs, plan, "input_ids", None), rows)).logits
        return self.loss(logits[:rows], logits[rows:], plan)

    def ssmix(self, method: str) -> torch.Tensor:
        """A method with the mixer ssmix, as the trainer runs it: saliency through the clean pass."""
        rows, row = self.options.batch_size, MIX_METHODS[method]
        mixture, _ = draw_mixture(
            row, rows, torch.Generator(), self.clean_loss, self.inputs, TOKENIZER, self.options.device
        )
        inputs = self.mixer.activate(self.inputs, site=Site("input", INPUT), keep_clean=True, **mixture._asdict())
        logits = self.model(**inputs).logits
        weights = LossWeights(row.mix_weight, row.cls_weight, row.sim_weight)
        return self.loss(logits[:rows], logits[rows:], self.mixer.plan, weights)

    def ssmix_loop(self) -> torch.Tensor:
        """SSMix as its authors have it: a backward pass for the saliency, a loop over rows, and both passes again."""
        plan, (rows, length) = self.plan(), self.inputs["input_ids"].shape
        size, embeddings = max(int(0.1 * length), 1), []
        handle = self.model.get_input_embeddings().register_forward_hook(lambda m, a, out: embeddings.append(out))
        logits = self.model(**self.inputs).logits
        handle.remove()
        embeddings[0].retain_grad()
        self.clean_loss(logits).backward()
        self.optimizer.zero_grad()
        saliency, mixed = embeddings[0].grad.norm(dim=-1), self.inputs["input_ids"].clone()
        for row, partner in enumerate(plan.index.tolist()):
            own, other = (torch.nn.functional.avg_pool1d(saliency[i][None], size, stride=1)[0] for i in (row, partner))
            first, best = int(own.argmin()), int(other.argmax())
            mixed[row, first : first + size] = self.inputs["input_ids"][partner, best : best + size]
        lam = torch.full((rows,), 1 - size / length, device=mixed.device)
        clean, mixed = self.model(**self.inputs).logits, self.model(**{**self.inputs, "input_ids": mixed}).logits
        return self.loss(clean, mixed, MixPlan(plan.index, lam), LossWeights(0.5, 0.5, 0.0))

    def clean_loss(self, logits: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of the clean rows, summed: what saliency is the gradient of."""
        return supervised_loss(logits, self.labels, reduction="sum")

    def plan(self, share: float = 1.0):
        """Draw pairs and shares."""
        return sample_plan(self.options.batch_size, 3.0, share=share, device=self.options.device)

    def loss(self, clean, mixed, plan, weights=WEIGHTS) -> torch.Tensor:
        """Sum of the terms."""
        return sum(mixing_loss_parts(clean, mixed, self.labels, plan, **weights.as_dict()).values())

    def run(self, variant: Callable[[], torch.Tensor]) -> float:
        """Seconds of one whole step."""
        cuda = self.options.device.startswith("cuda")
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        self.step(variant)
        if cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def peak(self, variant: Callable[[], torch.Tensor]) -> int:
        """Bytes that one whole step holds at most, beyond weights and optimizer."""
        if self.options.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            self.step(variant)
            return torch.cuda.max_memory_allocated() - before
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            self.step(variant)
        changes = [event.nbytes() for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
        return max(accumulate(changes, initial=0))

    def step(self, variant: Callable[[], torch.Tensor]) -> None:
        """Forward, loss, backward and AdamW."""
        with torch.autocast(
            self.options.device.partition(":")[0], torch.bfloat16, enabled=self.options.dtype == "bf16"
        ):
            loss = variant()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.mixer.deactivate()


def measure(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Median seconds, ratio, limit and peak memory of every variant."""
    model = load(options)
    names = options.sites or ",".join(name for name in list_sites(model) if name != "pooler")
    sites, mixer = find_sites(model, names), SiteMixer(model)
    steps = Steps(model, mixer, options)
    layers = model.config.num_hidden_layers
    variants = {"plain step": (steps.plain, 1.0), "one pass of 2B rows": (steps.doubled, 2.0)}
    variants |= {"stock Trainer": (steps.stock, 1.0), f"mixup, {sites[0].name}": (lambda: steps.mixup(sites[0]), 1.0)}
    variants["three passes"] = (lambda: steps.three_passes(sites[0]), 3.0)
    for site in sites:
        variants[site.name] = (lambda site=site: steps.logitmix(site), 1 + (layers - site.depth) / layers)
    half = 1 + 0.5 * (layers - sites[0].depth) / layers
    variants[f"{sites[0].name}, mix_share 0.5"] = (lambda: steps.logitmix(sites[0], 0.5), half)
    if not options.compile:
        for method in ("ssmix", "logitmix_s"):
            variants[method] = (lambda method=method: steps.ssmix(method), SSMIX_LIMIT)
        variants["ssmix, authors' loop"] = (steps.ssmix_loop, SSMIX_LOOP)
    times = {name: [] for name in variants}
    with mixer.installed():
        probe(mixer, model, steps.inputs, options.batch_size, sites, needs_similarity=True)
        for turn in range(options.rounds + 2):
            for name, (variant, _) in variants.items():
                seconds = steps.run(variant)
                times[name] += [seconds] * (turn >= 2)
        peaks = {name: steps.peak(variant) for name, (variant, _) in variants.items()}
    medians = {name: statistics.median(values) for name, values in times.items()}
    base = medians["plain step"]
    return {
        name: {
            "seconds": medians[name],
            "ratio": medians[name] / base,
            "limit": limit,
            "peak_bytes": peaks[name],
            "peak_ratio": peaks[name] / peaks["plain step"],
        }  # fmt: skip
        for name, (_, limit) in variants.items()
    }


def table(results: dict[str, dict[str, float]]) -> str:
    """Markdown table of the results."""
    lines = ["| variant | ms | of a plain step | limit | of its limit | peak MiB | of a plain step |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for name, row in results.items():
        lines.append(
            f"| {name} | {1000 * row['seconds']:.1f} | {row['ratio']:.2f}x | {row['limit']:.2f}x "
            f"| {row['ratio'] / row['limit']:.2f} | {row['peak_bytes'] / 2**20:.0f} | {row['peak_ratio']:.2f}x |"
        )
    return "\n".join(lines)


def plot(results: dict[str, dict[str, float]], path: Path) -> None:
    """Bars of measured ratios with a mark at each limit."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.45 * len(results) + 1.2), layout="constrained")
    axis = figure.subplots()
    axis.barh(list(results), [row["ratio"] for row in results.values()], color="#0072B2", label="measured")
    for position, row in enumerate(results.values()):
        axis.vlines(
            row["limit"], position - 0.4, position + 0.4, color="#D55E00", label="limit" if not position else None
        )
    axis.invert_yaxis()
    axis.set_xlabel("time of a step, in plain steps")
    axis.legend(loc="lower right")
    figure.savefig(path, dpi=150)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table, write JSON and a plot."""
    options = parse(arguments)
    results = measure(options)
    print(table(results))
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    versions = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
    }
    record = {"options": vars(options), "versions": versions, "results": results}
    (folder / "results.json").write_text(json.dumps(record, indent=2) + "\n")
    plot(results, folder / "step_time.png")


if __name__ == "__main__":
    main()
