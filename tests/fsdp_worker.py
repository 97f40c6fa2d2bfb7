# SPDX-License-Identifier: Apache-2.0
"""One process of `test_interruptions.test_sharded_parameters_mix_too`: mix in a model sharded by FSDP2 on gloo.

Accelerate does not set FSDP up without a GPU, so the model is sharded here as it would do it.
"""

import json
from pathlib import Path

import tiny
import torch
from torch import distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from logitmix_nlp.functional import MixPlan, mixing_loss_parts
from logitmix_nlp.mixing.probe import probe
from logitmix_nlp.mixing.site_mixer import SiteMixer
from logitmix_nlp.mixing.sites import find_sites
from logitmix_nlp.training.other_losses import check_model_loss


def gradients(model, shard: bool) -> dict[str, torch.Tensor]:
    """Gradients of one LogitMix step, gathered from all processes."""
    inputs = tiny.collate(tiny.rows(6))
    labels = inputs.pop("labels")
    plan = MixPlan(torch.arange(6).roll(1), torch.linspace(0.2, 0.8, 6))
    sites, mixer = find_sites(model, "layer:1"), SiteMixer(model)
    with mixer.installed():
        if shard:
            mesh = dist.device_mesh.init_device_mesh("cpu", (dist.get_world_size(),))
            for layer in model.bert.encoder.layer:
                fully_shard(layer, mesh=mesh)
            fully_shard(model, mesh=mesh)
        check_model_loss(model, inputs, labels, "single_label_classification", sharded=shard)
        probe(mixer, model, inputs, 6, sites, needs_similarity=True, sharded=shard)
        logits = model(**mixer.activate(inputs, plan, sites[0], keep_clean=True)).logits
        weights = {"mix_weight": 1.0, "cls_weight": 1.0, "sim_weight": 1.0}
        sum(mixing_loss_parts(logits[:6], logits[6:], labels, plan, **weights).values()).backward()
    return {
        name: p.grad.full_tensor() if isinstance(p.grad, DTensor) else p.grad
        for name, p in model.named_parameters()
        if p.grad is not None
    }


def main(output: Path) -> None:
    dist.init_process_group("gloo")
    expected, found = gradients(tiny.bert(), shard=False), gradients(tiny.bert(), shard=True)
    if dist.get_rank() == 0:
        gap = tiny.largest_gap(expected, found)
        (output / "record.json").write_text(json.dumps({"gap": gap, "world_size": dist.get_world_size()}))
    dist.barrier()
