# SPDX-License-Identifier: Apache-2.0
"""A `Trainer` whose model card holds the results of the weights that it saves."""

from typing import Any

from torch.utils.data import DataLoader
from transformers.trainer_utils import EvalLoopOutput
from transformers.utils import logging

from logitmix_nlp.calibration.stored_temperature import TEMPERATURE_KEY
from logitmix_nlp.publishing.card import CardOptions, card_facts, write_card
from logitmix_nlp.publishing.card.collect import evaluation_datasets
from logitmix_nlp.publishing.hub.secrets import redact

__all__ = ["CardMixin"]

SPEED = ("loss", "model_preparation_time", "runtime", "samples_per_second", "steps_per_second", "jit_compilation_time")
EVERY_ROW_IN_ORDER = {
    "train_sampling_strategy": "sequential", "dataloader_drop_last": False, "dataloader_in_order": True,
}  # fmt: skip

logger = logging.get_logger(__name__)


class CardMixin:
    """Stock `Trainer` with [`create_model_card`] replaced. Set `card_options` to say what a trainer cannot know.

    The last predictions for each evaluation dataset are kept in memory, so that the card of a model that was just
    evaluated costs nothing more.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        self.card_options = CardOptions()
        self._evaluated: Any = None
        self._kept: dict[int, tuple[Any, tuple, EvalLoopOutput]] = {}  # by id of the dataset, which is held
        super().__init__(*args, **kwargs)

    # ---- Predictions of the weights at hand ----

    def _get_dataloader(self, *args: Any, is_training: bool = False, **kwargs: Any) -> DataLoader:
        """Load as the base class does; but to evaluate and predict, all rows in their order, however training goes."""
        if is_training:
            return super()._get_dataloader(*args, is_training=True, **kwargs)
        before = {name: getattr(self.args, name) for name in EVERY_ROW_IN_ORDER}
        try:
            vars(self.args).update(EVERY_ROW_IN_ORDER)
            return super()._get_dataloader(*args, **kwargs)
        finally:
            vars(self.args).update(before)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Note which dataset is about to be evaluated."""
        source = self.eval_dataset if eval_dataset is None else eval_dataset
        self._evaluated = self.eval_dataset[source] if isinstance(source, str) else source
        return super().get_eval_dataloader(eval_dataset)

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader:
        """Note which dataset is about to be predicted."""
        self._evaluated = test_dataset
        return super().get_test_dataloader(test_dataset)

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Evaluate as the base class does, and keep what was predicted for an evaluation dataset."""
        source, self._evaluated = self._evaluated, None
        output = super().evaluation_loop(dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix)
        of_the_card = any(source is dataset for dataset in evaluation_datasets(self).values())
        if of_the_card and (output.predictions is not None or self.args.batch_eval_metrics):
            metrics = {name.removeprefix(f"{metric_key_prefix}_"): value for name, value in output.metrics.items()}
            metrics = {name: value for name, value in metrics.items() if name not in SPEED}
            self._kept[id(source)] = (source, self._weights_key(), output._replace(metrics=metrics))
        return output

    def _weights_key(self) -> tuple:
        """Changes whenever logits may have: steps are counted, loading weights counts up their versions."""
        versions = sum(parameter._version for parameter in self.model.parameters())
        return (self.state.global_step, versions, vars(self.model.config).get(TEMPERATURE_KEY))

    def _fresh(self) -> dict[str, EvalLoopOutput]:
        """Predictions of the weights at hand, by name of the evaluation dataset."""
        now, none = self._weights_key(), (None, None, None)
        kept = {name: self._kept.get(id(dataset), none) for name, dataset in evaluation_datasets(self).items()}
        return {name: output for name, (_, key, output) in kept.items() if key == now}

    def predict_for_card(self) -> str | None:
        """Predict the evaluation datasets with the weights at hand, unless that was just done; on all processes.

        Returns:
            `str`, *optional*: Why there are no predictions, which was then logged as a warning; `None` if there are.
        """
        try:
            for name, dataset in evaluation_datasets(self).items():
                if name not in self._fresh():
                    self.predict(dataset, metric_key_prefix="eval")
        except Exception as error:  # of the user's metrics or data, say, which must not cost a trained model
            message = " ".join(redact(error, self.args.hub_token).split())
            reason = f"the evaluation failed ({type(error).__name__}: {message})."
            logger.warning(f"The model card has no results: {reason}")
            return reason
        lost = [name or "eval_dataset" for name in evaluation_datasets(self) if name not in self._fresh()]
        return f"nothing was predicted for {', '.join(lost)} (prediction_loss_only?)." if lost else None

    # ---- The card ----

    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
    ) -> None:
        """Write `README.md` with the results of the weights at hand, predicted anew unless that was just done.

        Of several processes all must call it, as they evaluate together; the first one writes. If the evaluation
        fails, a warning says why, and the card says that results are missing.

        Args:
            language (`str`, *optional*): Language of the texts.
            license (`str`, *optional*): Licence of the model. Default: what the base model's card says.
            tags (`str` or `list[str]`, *optional*): More tags for the Hub.
            model_name (`str`, *optional*): Name of the model. Default: that of the repository or folder.
            finetuned_from (`str`, *optional*): Base model. Default: what the model was loaded from.
            tasks (`str` or `list[str]`, *optional*): Task of the pipeline. Default: that of the model's class.
            dataset_tags (`str` or `list[str]`, *optional*): Names of the data on the Hub, one or one for each
                evaluation dataset. Default: what the datasets say themselves.
            dataset (`str` or `list[str]`, *optional*): Their names for readers.
            dataset_args (`str` or `list[str]`, *optional*): Their configurations.

        Raises:
            OSError: If a file cannot be written.
            ValueError: If the number of names does not fit that of the evaluation datasets.
        """
        missing = self.predict_for_card()
        if not self.is_world_process_zero():
            return
        predictions = self._fresh() if missing is None else {}
        given = {
            "language": language, "license": license, "tags": tags, "model_name": model_name,
            "finetuned_from": finetuned_from, "tasks": tasks, "dataset_tags": dataset_tags, "dataset": dataset,
            "dataset_args": dataset_args,
        }  # fmt: skip
        facts = card_facts(self, predictions, given, missing)
        write_card(self.args.output_dir, facts=facts, secrets=(self.args.hub_token,))
