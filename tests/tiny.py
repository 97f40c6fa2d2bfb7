# SPDX-License-Identifier: Apache-2.0
"""Small models, data and runs for the tests: random weights, no files, on the device of the tests."""

import os

import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    TrainerCallback,
    TrainingArguments,
)

from logitmix_nlp import LogitMixTrainer, LogitMixTrainingArguments

VOCABULARY = 101
# The field of `TrainingArguments` was called gradient_checkpointing before Transformers 5.23.
CHECKPOINTING = (
    f"{'activation' if hasattr(TrainingArguments, 'activation_checkpointing') else 'gradient'}_checkpointing"
)


def device() -> str:
    """Where models, batches and runs are: what `make test DEVICE=…` says, else the CPU."""
    return os.environ.get("TEST_DEVICE", "cpu")


def bert(
    num_labels: int = 3, layers: int = 4, dropout: float = 0.0, seed: int = 0, tokens: bool = False, **config
) -> nn.Module:
    """BERT classifier with weights large enough that every layer and the tanh of the pooler bend visibly."""
    torch.manual_seed(seed)
    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": 16,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 32,
        "num_labels": num_labels,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
        "initializer_range": 0.3,
    }
    head = BertForTokenClassification if tokens else BertForSequenceClassification
    return head(BertConfig(**{**settings, **config}))


def rows(count: int, num_labels: int = 3, seed: int = 0, kind: str = "single") -> list[dict]:
    """Tokenised examples of 3 to 12 tokens with labels: class indices, multi-hot vectors, scores or tags of tokens."""
    generator = torch.Generator().manual_seed(seed)

    def label() -> object:
        if kind in ("single", "tokens"):
            return torch.randint(num_labels, (), generator=generator).item()
        if kind == "multi":
            return torch.randint(2, (num_labels,), generator=generator).float().tolist()
        return torch.rand((), generator=generator).item() * 5

    def example() -> dict:
        length = int(torch.randint(3, 13, (), generator=generator))
        ids = torch.randint(1, VOCABULARY, (length,), generator=generator).tolist()
        types = [0] * (length // 2) + [1] * (length - length // 2)
        labels = [label() for _ in ids] if kind == "tokens" else label()
        if kind == "tokens":  # most have a tag, but never those at the ends
            labels = [tag if 0 < place < length - 1 and ids[place] % 4 else -100 for place, tag in enumerate(labels)]
        return {"input_ids": ids, "token_type_ids": types, "labels": labels}

    return [example() for _ in range(count)]


def collate(examples: list[dict], *, left: bool = False) -> dict[str, torch.Tensor]:
    """Pad on the right, or left, with an attention mask; labels of tokens with -100."""
    width = max(len(example["input_ids"]) for example in examples)

    def pad(values: list[int], value: int = 0) -> list[int]:
        more = [value] * (width - len(values))
        return more + values if left else values + more

    def label(example: dict) -> object:
        labels = example["labels"]
        return pad(labels, -100) if isinstance(labels, list) and isinstance(labels[0], int) else labels

    batch = {
        "input_ids": torch.tensor([pad(example["input_ids"]) for example in examples]),
        "token_type_ids": torch.tensor([pad(example["token_type_ids"]) for example in examples]),
        "attention_mask": torch.tensor([pad([1] * len(example["input_ids"])) for example in examples]),
        "labels": torch.tensor([label(example) for example in examples]),
    }
    return {name: value.to(device()) for name, value in batch.items()}


def arguments(output_dir, **overrides) -> LogitMixTrainingArguments:
    """Quiet arguments of a short run that takes its rows in order."""
    settings = {
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 4,
        "num_train_epochs": 1,
        "learning_rate": 1e-2,
        "train_sampling_strategy": "sequential",
        "dataloader_pin_memory": False,
        "disable_tqdm": True,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "seed": 5,
        "use_cpu": device() == "cpu",
    }
    return LogitMixTrainingArguments(output_dir=str(output_dir), **{**settings, **overrides})


def trainer(output_dir, data, model=None, trainer_class=LogitMixTrainer, **overrides) -> LogitMixTrainer:
    """Trainer on `data` with [`arguments`]; those of the trainer in `names` may be given too."""
    names = ("callbacks", "eval_dataset", "data_collator", "row_loss")
    extras = {"data_collator": collate} | {name: overrides.pop(name) for name in names if name in overrides}
    return trainer_class(
        bert() if model is None else model,
        arguments(output_dir, **overrides),
        train_dataset=data,
        **extras,
    )


class GradientRecorder(TrainerCallback):
    """Keep the gradients that each optimizer step is about to use, by the names of the model's own parameters."""

    def __init__(self):
        self.steps: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        """Copy the gradients."""
        parameters = model.named_parameters()
        self.steps.append(
            {name.removeprefix("module."): p.grad.clone() for name, p in parameters if p.grad is not None}
        )


def in_sync(run: LogitMixTrainer) -> bool:
    """Whether all processes have the same weights, which each of them must ask."""
    weights = torch.cat([p.detach().flatten() for p in run.model.parameters()])
    everyone = run.accelerator.gather(weights.reshape(1, -1))
    return all(torch.equal(everyone[0], other) for other in everyone)


def learnt(run: LogitMixTrainer) -> dict[str, torch.Tensor]:
    """All that a run has learnt: the weights of the model and of a second head, and the state of the optimizer."""
    tensors = dict(run.model.state_dict())
    if run._soft_head is not None:
        tensors |= {f"lamix_head.{name}": p for name, p in run._soft_head.linear.named_parameters()}
    states = run.optimizer.state_dict()["state"]
    for number, state in states.items():
        tensors |= {f"{number}.{name}": value for name, value in state.items() if isinstance(value, torch.Tensor)}
    return tensors


def assert_same_learnt(run: LogitMixTrainer, again: LogitMixTrainer) -> None:
    """Two runs ended with the same weights and the same state of the optimizer, bit for bit."""
    one, other = learnt(run), learnt(again)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def largest_gap(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Largest absolute difference between two sets of tensors of the same names."""
    assert one.keys() == other.keys()
    return max((one[name].float().cpu() - other[name].float().cpu()).abs().max().item() for name in one)
