# SPDX-License-Identifier: Apache-2.0
"""One tiny classifier of each architecture, random weights, no dropout."""

import torch
import transformers as tf

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
}  # fmt: skip
DROPOUTS = (
    "hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout", "seq_classif_dropout",
    "classifier_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop", "hidden_dropout", "activation_dropout",
    "summary_last_dropout", "drop_path_rate", "classifier_dropout_prob", "embedding_dropout", "mlp_dropout",
    "pooler_dropout",
)  # fmt: skip


def build(name: str, seed: int = 0, **overrides) -> tf.PreTrainedModel:
    """Tiny classifier of one architecture."""
    torch.manual_seed(seed)
    config = {**TEXT_MODELS, **IMAGE_MODELS}[name]()
    for dropout in DROPOUTS:
        if dropout in config.to_dict():
            setattr(config, dropout, 0.0)
    for key, value in overrides.items():
        setattr(config, key, value)
    family = "Sequence" if name in TEXT_MODELS else "Image"
    model_class = next(
        getattr(tf, prefix + f"For{family}Classification")
        for prefix in (type(config).__name__.removesuffix("Config"),)
    )
    model = model_class(config)
    model.config.use_cache = False
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return model


def batch(name: str, count: int = 4, seed: int = 1) -> dict[str, torch.Tensor]:
    """Rows for one architecture: texts of different lengths, padded on the right, or images."""
    generator = torch.Generator().manual_seed(seed)
    if name in IMAGE_MODELS:
        size = 32 if name in ("resnet", "convnext", "mobilenet_v2") else 16
        return {"pixel_values": torch.randn(count, 3, size, size, generator=generator)}
    lengths = torch.randint(3, 9, (count,), generator=generator)
    ids = torch.randint(3, 101, (count, 8), generator=generator)
    mask = (torch.arange(8) < lengths[:, None]).long()
    inputs = {"input_ids": ids * mask, "attention_mask": mask}
    if name in ("bert", "electra", "albert", "deberta-v2", "xlnet", "funnel"):
        inputs["token_type_ids"] = (torch.arange(8) >= lengths[:, None] // 2).long() * mask
    if name in ("bert", "electra", "albert", "gpt2", "llama", "qwen2"):
        inputs["position_ids"] = torch.arange(8) + torch.arange(count)[:, None]
    if name in ("deberta-v2", "roberta", "xlm-roberta", "camembert"):
        inputs.pop("token_type_ids", None)
    return inputs
