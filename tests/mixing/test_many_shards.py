# SPDX-License-Identifier: Apache-2.0
"""A model in eight shards on a process group that sends nothing: shapes, as numbers need eight processes."""

import pytest
import tiny
from torch import distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from logitmix_nlp.functional import sample_plan
from logitmix_nlp.mixing.site_mixer import SiteMixer
from logitmix_nlp.mixing.sites import find_sites

SHARDS = 8


@pytest.fixture
def group():
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=SHARDS)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("site", ["embeddings", "layer:1", "pooler"])
@pytest.mark.parametrize(("share", "mixtures"), [(1.0, 6), (0.5, 3)])
def test_mixed_rows_pass_through_every_shard(site, share, mixtures):
    """Three classes and 101 tokens do not divide by eight."""
    model = tiny.bert().cpu()
    (place,), mixer = find_sites(model, site), SiteMixer(model)
    inputs = {name: x.cpu() for name, x in tiny.collate(tiny.rows(6)).items() if name != "labels"}
    mesh = dist.device_mesh.init_device_mesh("cpu", (SHARDS,))
    for part in (*model.bert.encoder.layer, model):
        fully_shard(part, mesh=mesh)
    with mixer.installed():
        mixer.learn(lambda size: model(**{name: x[:size] for name, x in inputs.items()}), [place.depth])
        batch = mixer.activate(inputs, sample_plan(6, 3.0, share=share), place, keep_clean=True)
        logits = model(**batch).logits
        logits.sum().backward()
    assert logits.shape == (6 + mixtures, 3)
    for parameter in model.parameters():
        assert isinstance(parameter.grad, DTensor)
        assert parameter.grad.shape == parameter.shape
        assert len(parameter.grad.to_local()) == min(-(-len(parameter) // SHARDS), len(parameter))
