# SPDX-License-Identifier: Apache-2.0
"""The loss that a trainer's labels ask for: their kind, their weights, and what a step is divided by."""

import torch
from torch.utils.data import DataLoader

from logitmix_nlp.functional.checks import REGRESSION, SINGLE_LABEL, SOFT_LABEL, check_row_loss
from logitmix_nlp.functional.mixing import mixture_count, sent
from logitmix_nlp.functional.row_loss import RowFunction, RowLoss
from logitmix_nlp.training.labels import kind_of_labels, label_weights, loader_labels

__all__ = ["LabelLossMixin"]


class LabelLossMixin:
    """`Trainer` that knows the kind of its labels, looks at their values once, and weighs them.

    Attributes:
        row_loss (`Callable`, *optional*): The user's own loss of each row, `(logits, labels) -> (B,)`.
    """

    row_loss: RowFunction | None = None
    _label_weights: dict[str, torch.Tensor]
    _step_sizes: dict[str, torch.Tensor]
    _mixture_weight = 1.0

    @property
    def _num_labels(self) -> int:
        """Number of outputs of the model."""
        return self.model.config.num_labels

    def _weigh_labels(self, problem_type: str, *, trains: bool) -> None:
        """Read or count the weights of labels, and refuse what has no meaning for them."""
        config = self.model.config
        data = () if trains and self.train_dataset is None else self.train_dataset
        self._label_weights = label_weights(self.args, config.num_labels, data, self.args.device)
        if problem_type == REGRESSION or config.problem_type is not None:  # else the labels will tell
            check_row_loss(self._row_loss(problem_type), config.num_labels)

    def get_train_dataloader(self) -> DataLoader:
        """The other class's; labels are looked at before the first step, or as each batch is made."""
        loader, config = super().get_train_dataloader(), self.model.config
        labels = loader_labels(loader, self._num_labels, config.problem_type)
        if labels is not None and labels.is_floating_point():  # of numbers collators make either kind
            self._problem_type(labels, complete=True)
        return loader

    def _row_loss(self, problem_type: str, *, smooth: bool = True) -> RowLoss:
        """What the arguments say of the loss of one row."""
        smoothing = self.args.label_smoothing_factor if smooth else 0.0
        return RowLoss(problem_type, smoothing, function=self.row_loss, **self._label_weights)

    def _problem_type(self, labels: torch.Tensor, *, complete: bool = False) -> str:
        """The kind of labels, `complete` if they are all there are.

        The config is told, as by Transformers' heads in their loss; of soft labels, which these do not know, that a
        row has one class.
        """
        config = self.model.config
        if config.problem_type is None:
            config.problem_type = kind_of_labels(labels, self._num_labels, complete=complete)
        if config.problem_type == SOFT_LABEL:
            config.problem_type = SINGLE_LABEL
        soft = config.problem_type == SINGLE_LABEL and labels.is_floating_point() and labels.dim() == 2
        return SOFT_LABEL if soft else config.problem_type

    def _gather_sizes(self, labels: list[torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
        """Rows and mixtures of an optimizer step, and what its terms are divided by: counted labels, and weighed ones.

        Labels are those of rows, or of tokens that have a tag.
        """
        rows = [len(batch) for batch in labels]
        mixtures = [mixture_count(count, self.args.mix_share) for count in rows]
        counts = [sum(rows), sum(mixtures), sum(rows), sum(rows)]
        sizes = sent(torch.tensor([counts], dtype=torch.float32), device)
        losses = [self._row_loss(self._problem_type(batch)) for batch in labels]
        for place, options in ((2, {"class_weights": None}), (3, {})):
            pairs = zip(losses, labels, strict=True)
            weights = [loss._replace(**options).weights(batch) for loss, batch in pairs]
            if weights and weights[0] is not None:
                sizes[0, place] = sum(weight.sum() for weight in weights)
        total = self.accelerator.gather(sizes).sum(0)
        total = torch.where(total > 0, total, 1.0)  # of nothing, the sums are 0 too
        self._mixture_weight = 1.0
        if self.args.mix_share < 1.0:  # terms of mixtures are means over the mixtures of the step, not over its rows
            alone = self.accelerator.num_processes == 1  # else the host must wait for what the others have
            self._mixture_weight = sum(rows) / max(sum(mixtures), 1) if alone else (total[0] / total[1]).item()
        return dict(zip(("rows", "mixtures", "labels", "weights"), total, strict=True))
