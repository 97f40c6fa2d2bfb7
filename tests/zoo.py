# SPDX-License-Identifier: Apache-2.0
"""One tiny classifier of each architecture, random weights, no dropout."""

import tiny
import torch
import transformers as tf
from transformers.modeling_outputs import SequenceClassifierOutput

TEXT = {
    "vocab_size": 101,
    "num_labels": 3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.2,
}
SHAPE = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
BERT = {**TEXT, **SHAPE, "max_position_embeddings": 40}
VIT = {**SHAPE, "image_size": 16, "patch_size": 4, "num_labels": 3, "initializer_range": 0.2}
CONV = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "num_labels": 3}

TEXT_MODELS = {
    "bert": lambda: tf.BertConfig(**BERT),
    "roberta": lambda: tf.RobertaConfig(**BERT),
    "xlm-roberta": lambda: tf.XLMRobertaConfig(**BERT),
    "camembert": lambda: tf.CamembertConfig(**BERT),
    "distilbert": lambda: tf.DistilBertConfig(**TEXT, dim=16, n_layers=4, n_heads=2, hidden_dim=32),
    "electra": lambda: tf.ElectraConfig(**BERT, embedding_size=8),
    "albert": lambda: tf.AlbertConfig(**BERT, embedding_size=8),
    "deberta-v2": lambda: tf.DebertaV2Config(
        **BERT, relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=5, norm_rel_ebd="layer_norm"
    ),
    "mpnet": lambda: tf.MPNetConfig(**BERT),
    "modernbert": lambda: tf.ModernBertConfig(**BERT, cls_token_id=1, sep_token_id=2, classifier_pooling="mean"),
    "xlnet": lambda: tf.XLNetConfig(**TEXT, d_model=16, n_layer=4, n_head=2, d_inner=32),
    "funnel": lambda: tf.FunnelConfig(**TEXT, block_sizes=[2, 2], d_model=16, n_head=2, d_head=8, d_inner=32),
    "gpt2": lambda: tf.GPT2Config(**TEXT, n_embd=16, n_layer=4, n_head=2, n_positions=40),
    "llama": lambda: tf.LlamaConfig(**BERT),
    "qwen2": lambda: tf.Qwen2Config(**BERT, num_key_value_heads=2),
    "bert-mean-head": lambda: tf.BertConfig(**BERT),
}
IMAGE_MODELS = {
    "vit": lambda: tf.ViTConfig(**VIT),
    "deit": lambda: tf.DeiTConfig(**VIT),
    "swin": lambda: tf.SwinConfig(
        image_size=16, patch_size=2, embed_dim=8, depths=[1, 2, 1], num_heads=[1, 2, 2], window_size=2, num_labels=3,
        initializer_range=0.2,
    ),
    "convnext": lambda: tf.ConvNextConfig(**CONV, patch_size=2, layer_scale_init_value=0.5),
    "resnet": lambda: tf.ResNetConfig(**CONV, embedding_size=8, layer_type="basic"),
    "mobilenet_v2": lambda: tf.MobileNetV2Config(image_size=32, depth_multiplier=0.25, num_labels=3),
    "efficientnet": lambda: tf.EfficientNetConfig(
        image_size=32, width_coefficient=0.25, kernel_sizes=[3, 3, 5, 3], in_channels=[32, 16, 24, 40],
        out_channels=[16, 24, 40, 64], strides=[1, 2, 2, 2], num_block_repeats=[1] * 4, expand_ratios=[1, 2, 2, 2],
        depth_coefficient=1.0, hidden_dim=320, num_labels=3,
    ),
    "pvt": lambda: tf.PvtConfig(
        image_size=16, hidden_sizes=[8, 16], depths=[2, 1], num_encoder_blocks=2, sequence_reduction_ratios=[2, 1],
        patch_sizes=[4, 2], strides=[4, 2], num_attention_heads=[1, 2], mlp_ratios=[2, 2], num_labels=3,
        initializer_range=0.2,
    ),
    "pvt_v2": lambda: tf.PvtV2Config(
        image_size=16, hidden_sizes=[8, 8, 16], depths=[1, 2, 1], num_encoder_blocks=3, sr_ratios=[2, 1, 1],
        patch_sizes=[3, 3, 3], strides=[2, 2, 2], num_attention_heads=[1, 1, 2], mlp_ratios=[2, 2, 2], num_labels=3,
        initializer_range=0.2,
    ),
}  # fmt: skip
# Only built fresh, in `test_site_probe`.
FRESH_MODELS = {
    "mobilenet_v1": lambda: tf.MobileNetV1Config(image_size=32, depth_multiplier=0.25, num_labels=3),
    "mobilevitv2": lambda: tf.MobileViTV2Config(
        image_size=32, width_multiplier=0.25, base_attn_unit_dims=[32, 32, 32], num_labels=3
    ),
}


class BertMeanHead(tf.BertPreTrainedModel):
    """BERT with its pooler, and a head that takes the mean of the last hidden states under the mask instead."""

    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = tf.BertModel(config)
        self.classifier = torch.nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, position_ids=None, labels=None):
        """Logits; labels give no loss."""
        outputs = self.bert(input_ids, attention_mask, token_type_ids, position_ids)
        mask = attention_mask[..., None].to(outputs.last_hidden_state)
        mean = (outputs.last_hidden_state * mask).sum(1) / mask.sum(1)
        return SequenceClassifierOutput(logits=self.classifier(torch.tanh(mean)))


OWN_HEADS = {"bert-mean-head": BertMeanHead}
DROPOUTS = (
    "hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout", "seq_classif_dropout",
    "classifier_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop", "hidden_dropout", "activation_dropout",
    "summary_last_dropout", "drop_path_rate", "classifier_dropout_prob", "embedding_dropout", "mlp_dropout",
    "pooler_dropout",
)  # fmt: skip


def build(name: str, seed: int = 0, *, fresh: bool = False, tokens: bool = False, **overrides) -> tf.PreTrainedModel:
    """Tiny classifier of one architecture; where not `fresh`, convolutions are larger, so that signals get through."""
    torch.manual_seed(seed)
    config = {**TEXT_MODELS, **IMAGE_MODELS, **FRESH_MODELS}[name]()
    for dropout in DROPOUTS:
        if dropout in config.to_dict():
            setattr(config, dropout, 0.0)
    for key, value in overrides.items():
        setattr(config, key, value)
    family = ("Token" if tokens else "Sequence") if name in TEXT_MODELS else "Image"
    stock = f"{type(config).__name__.removesuffix('Config')}For{family}Classification"
    model = OWN_HEADS[name](config) if name in OWN_HEADS else getattr(tf, stock)(config)
    model.config.use_cache = False
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d) and not fresh:
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, torch.nn.BatchNorm2d) and not fresh:
            torch.nn.init.ones_(module.weight)
    return model.to(tiny.device())


def batch(name: str, count: int = 4, seed: int = 1) -> dict[str, torch.Tensor]:
    """Rows for one architecture: texts of different lengths, padded on the right, or images."""
    generator = torch.Generator().manual_seed(seed)
    if name in {**IMAGE_MODELS, **FRESH_MODELS}:
        size = {"mobilevitv2": 64}.get(name, 16 if name in ("vit", "deit", "swin", "pvt", "pvt_v2") else 32)
        return {"pixel_values": torch.randn(count, 3, size, size, generator=generator).to(tiny.device())}
    lengths = torch.randint(3, 9, (count,), generator=generator)
    ids = torch.randint(3, 101, (count, 8), generator=generator)
    mask = (torch.arange(8) < lengths[:, None]).long()
    inputs = {"input_ids": ids * mask, "attention_mask": mask}
    if name in ("bert", "bert-mean-head", "electra", "albert", "deberta-v2", "xlnet", "funnel"):
        inputs["token_type_ids"] = (torch.arange(8) >= lengths[:, None] // 2).long() * mask
    if name in ("bert", "bert-mean-head", "electra", "albert", "gpt2", "llama", "qwen2"):
        inputs["position_ids"] = torch.arange(8) + torch.arange(count)[:, None]
    if name in ("deberta-v2", "roberta", "xlm-roberta", "camembert"):
        inputs.pop("token_type_ids", None)
    return {key: value.to(tiny.device()) for key, value in inputs.items()}
