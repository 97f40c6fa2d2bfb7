# SPDX-License-Identifier: Apache-2.0
"""Time the ways to mix images beside the memory bound, other libraries that are installed, and a training step.

    python scripts/benchmark_mixers.py --energies 200

All variants are timed in turn in one run; times are medians of process time on the CPU. Compare columns, not machines.
"""

import argparse
import importlib
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import ResNetConfig, ResNetForImageClassification

from logitmix_nlp.functional import PAIRINGS, cutmix, mix, puzzlemix, saliency, sample_boxes, sample_plan

TESTS = Path(__file__).resolve().parents[1] / "tests"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="128x3x32x32,128x3x224x224", help="Batches, rows x channels x sides.")
    parser.add_argument("--grids", default="2,4,8,16", help="Blocks per side of PuzzleMix.")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, …")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=21, help="Timed rounds after one for warm-up.")
    parser.add_argument("--model_rounds", type=int, default=3, help="Timed training steps at the first shape.")
    parser.add_argument("--energies", type=int, default=0, help="Images to compare energies with exact ones on.")
    parser.add_argument("--output", default="runs/benchmark_mixers", help="Folder for results.json.")
    return parser.parse_args(arguments)


def own_variants(images: torch.Tensor, grids: list[int]) -> dict[str, Callable[[], object]]:
    """The memory bound, the mixers of this library given their draws, and the draws."""
    rows, _, height, width = images.shape
    out, gradient, device = torch.empty_like(images), torch.randn_like(images), images.device
    salient = saliency(gradient)
    plan, rolled = (sample_plan(rows, 1.0, pairing=pairing, device=device) for pairing in PAIRINGS)
    each, half = sample_plan(rows, 1.0, per_sample=True, device=device), torch.full((rows,), 0.5)
    box, boxes = sample_boxes(half[:1], height, width), sample_boxes(half, height, width, device=device)
    variants = {
        "copy into a buffer: 2 passes": lambda: out.copy_(images),
        "draw pairs and λ": lambda: sample_plan(rows, 1.0, device=device),
        "draw a box per row": lambda: sample_boxes(half, height, width, device=device),
        "mixup, permutation": lambda: mix(images, plan, out=out),
        "mixup, permutation, λ per row": lambda: mix(images, each, out=out),
        "mixup, roll": lambda: mix(images, rolled, out=out),
        "mixup, permutation, fresh memory": lambda: mix(images, plan),
        "CutMix, box per batch (λ = 0.5)": lambda: cutmix(images, plan, box, out=out),
        "CutMix, box per row (λ = 0.5)": lambda: cutmix(images, plan, boxes, out=out),
        "saliency": lambda: saliency(gradient),
    }
    for grid in grids:
        puzzle = partial(puzzlemix, images, plan, salient, grid=grid, out=out)
        variants |= {
            f"PuzzleMix, {grid}x{grid}": puzzle,
            f"PuzzleMix, {grid}x{grid}, high": partial(puzzle, quality="high"),
        }
    return variants


def peer_variants(images: torch.Tensor) -> dict[str, Callable[[], object]]:
    """The same of other libraries, where installed, with their draws and labels; timm writes into its batch."""
    labels = torch.arange(len(images), device=images.device) % 10
    one_hot, own = torch.nn.functional.one_hot(labels, 10).float(), images.clone()
    variants = {}
    for name, module, make in (
        ("timm Mixup, in place", "timm.data", lambda peer: peer.Mixup(1.0, num_classes=10)),
        ("timm CutMix, in place", "timm.data", lambda peer: peer.Mixup(0.0, 1.0, num_classes=10)),
        ("torchvision MixUp", "torchvision.transforms.v2", lambda peer: peer.MixUp(num_classes=10)),
        ("torchvision CutMix", "torchvision.transforms.v2", lambda peer: peer.CutMix(num_classes=10)),
        ("PyPI mixup VanillaMixUp", "mixup", lambda peer: peer.VanillaMixUp()),
        ("PyPI mixup CutMix", "mixup", lambda peer: peer.CutMix()),
    ):
        try:
            mixer = make(importlib.import_module(module))
        except ImportError:
            continue
        variants[name] = partial(mixer, own, one_hot if module == "mixup" else labels)
    return variants


def training_steps(images: torch.Tensor) -> dict[str, Callable[[], object]]:
    """Forward and backward pass of a ResNet-18, with the stem of its config and with that for small images."""
    config = ResNetConfig(
        embedding_size=64, hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic", num_labels=10
    )
    config.num_channels = images.shape[1]
    labels, steps = torch.arange(len(images), device=images.device) % 10, {}
    for name in ("7x7 stem and pooling", "3x3 stem"):
        model = ResNetForImageClassification(config).to(images.device).train()
        if name == "3x3 stem":
            stem = torch.nn.Conv2d(images.shape[1], 64, 3, padding=1, bias=False)
            norm = torch.nn.BatchNorm2d(64)
            model.resnet.embedder = torch.nn.Sequential(stem, norm, torch.nn.ReLU()).to(images.device)
        steps[f"ResNet-18 step, {name}"] = lambda model=model: model(images, labels=labels).loss.backward()
    return steps


def seconds(variants: dict[str, Callable], rounds: int, device: str) -> dict[str, float]:
    """Median seconds of each variant, all timed in turn, each at least 5 ms on end."""
    synchronize = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    clock = time.perf_counter if device.startswith("cuda") else time.process_time
    times, repeats = {name: [] for name in variants}, {}
    for turn in range(rounds + 1):
        for name, variant in variants.items():
            synchronize()
            start = clock()
            for _ in range(repeats.get(name, 1)):
                variant()
            synchronize()
            times[name].append((clock() - start) / repeats.get(name, 1))
            if turn == 0:
                repeats[name] = max(1, int(0.005 / times[name].pop()))
    return {name: statistics.median(values) for name, values in times.items()}


def peak_bytes(variant: Callable, device: str) -> int:
    """Most memory that a variant holds at a time beyond what was there before."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        variant()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        variant()
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = (event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
    return max(itertools.accumulate(changes, initial=0))


def measure(options: argparse.Namespace) -> dict[str, dict[str, dict[str, float]]]:
    """Seconds, ratio to the bound of 3 passes, share of a training step and peak memory in batches, per shape."""
    results, grids = {}, [int(grid) for grid in options.grids.split(",")]
    for shape in options.shapes.split(","):
        images = torch.rand([int(side) for side in shape.split("x")], device=options.device)
        mixers = own_variants(images, [grid for grid in grids if grid <= min(images.shape[2:])])
        mixers |= peer_variants(images)
        times, batch = seconds(mixers, options.rounds, options.device), images.numel() * images.element_size()
        bound = 1.5 * times["copy into a buffer: 2 passes"]
        peaks = {name: peak_bytes(mixer, options.device) / batch for name, mixer in mixers.items()}
        steps = {}
        if options.model_rounds and not results:
            steps = seconds(training_steps(images), options.model_rounds, options.device)
        rows = {name: {"seconds": value, "of_bound": value / bound} for name, value in (times | steps).items()}
        for name, row in rows.items():
            row |= {"peak_batches": peaks[name]} if name in peaks else {}
            row |= {"of_step": row["seconds"] / min(steps.values())} if steps else {}
        results[shape] = rows
    return results


def table(results: dict[str, dict[str, float]], columns: dict[str, tuple[str, float, str]]) -> str:
    """Markdown table; `columns` maps a heading to the key, a factor and a format."""
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in results.items():
        cells = (format(row[key] * by, spec) if key in row else "-" for key, by, spec in columns.values())
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print tables, write JSON."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    results = measure(options)
    columns = {
        "ms": ("seconds", 1000, ".3f"),
        "of the bound (3 passes)": ("of_bound", 1, ".2f"),
        "% of the faster ResNet-18 step": ("of_step", 100, ".2f"),
        "peak extra memory, batches": ("peak_batches", 1, ".2f"),
    }
    for shape, rows in results.items():
        print(f"\n{shape}, {options.device}, {options.threads} threads\n\n{table(rows, columns)}")
    record = {"options": vars(options), "torch": torch.__version__, "results": results}
    if options.energies:
        sys.path.insert(0, str(TESTS))
        record["energies"] = importlib.import_module("puzzlemix_oracles").energy_gaps(options.energies)
        keys = next(iter(record["energies"].values()))
        columns = {f"{key.replace('_', ' ')}, %": (key, 100, ".3f") for key in keys}
        print(f"\nenergy beyond the exact minimum, {options.energies} images\n\n{table(record['energies'], columns)}")
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
