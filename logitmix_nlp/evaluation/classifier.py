# SPDX-License-Identifier: Apache-2.0
"""A trained classifier of texts, words or images with what turns rows into its inputs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from transformers import (
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BatchEncoding,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
)

from logitmix_nlp.evaluation.data.lines import shown
from logitmix_nlp.functional.checks import MULTI_LABEL, SINGLE_LABEL
from logitmix_nlp.mixing.model_modes import evaluation_mode, inputs_of
from logitmix_nlp.mixing.outputs import logits_of
from logitmix_nlp.training.model_folders import load_config, load_image_processor, load_weights
from logitmix_nlp.training.tokenizers import (
    check_ids,
    check_length,
    load_tokenizer,
    load_word_tokenizer,
    position_limit,
    word_starts,
)

__all__ = ["Classifier", "load_classifier"]

UNBOUNDED = 1_000_000  # a tokenizer's way to say that it has no limit
WORD_PLACES = "word_places"  # beside the inputs of a tagger: the first token of each word
UNSEEN, NO_WORD = -1, -2  # in place of one: a word without a token, and the end of a row
KINDS = {
    AutoModelForSequenceClassification: MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    AutoModelForTokenClassification: MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
    AutoModelForImageClassification: MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
}


class Classifier(NamedTuple):
    """A model and its tokenizer or image processor.

    Args:
        name (`str`): Folder or Hub id that it came from.
        model (`PreTrainedModel`): Classifier, in evaluation mode.
        processor (tokenizer or image processor): Makes inputs of rows.
        is_text (`bool`): Whether rows are texts; else they are images.
        max_length (`int`, *optional*): Longest text in tokens; longer ones are cut.
        tags_words (`bool`): Whether texts are lists of words, each of which has a class.
    """

    name: str
    model: PreTrainedModel
    processor: Any
    is_text: bool
    max_length: int | None = None
    tags_words: bool = False

    @property
    def kind(self) -> str:
        """What it classifies, in a word."""
        return "words" if self.tags_words else "texts" if self.is_text else "images"

    @property
    def class_names(self) -> list[str]:
        """Class names by id."""
        names = self.model.config.id2label
        return [str(names[place]) for place in range(self.model.config.num_labels)]

    @property
    def multi_label(self) -> bool:
        """Whether a row may have several classes, or none."""
        return self.model.config.problem_type == MULTI_LABEL

    @property
    def label2id(self) -> dict[str, int]:
        """Class ids by name, as `id2label` has them, which is what pipelines go by."""
        return {name: place for place, name in enumerate(self.class_names)}

    def inputs(self, rows: Sequence[Any], *, pad_to_max_length: bool = False) -> dict[str, torch.Tensor]:
        """Inputs of the model for some rows.

        Args:
            rows (`Sequence`): Texts as tuples of one or two strings, or of words, or PIL images.
            pad_to_max_length (`bool`): Give all texts one length.

        Returns:
            `dict[str, torch.Tensor]`: A batch, without labels; of a tagger with `word_places`, see [`logits`].
        """
        if not self.is_text:
            images = [row.convert("RGB") if row.mode != self._mode() else row for row in rows]
            return dict(self.processor(images=images, return_tensors="pt"))
        check_length(self.processor, self.max_length, 1 if self.tags_words else len(rows[0]))
        if self.tags_words:
            columns = [[list(words) for words in rows]]
        else:
            columns = [list(column) for column in zip(*rows, strict=True)]
        alone = len(rows) == 1 and not pad_to_max_length  # needs no padding token
        padding = False if alone else ("max_length" if pad_to_max_length else True)
        cut = {"truncation": self.max_length is not None, "max_length": self.max_length}
        made = self.processor(
            *columns, padding=padding, return_tensors="pt", is_split_into_words=self.tags_words, **cut
        )
        check_ids(int(made["input_ids"].max()), self.model, self.name)
        return {**made, WORD_PLACES: _word_places(made, rows)} if self.tags_words else dict(made)

    def batches(
        self, rows: Sequence[Any], batch_size: int, *, pad_to_max_length: bool = False
    ) -> Iterator[dict[str, torch.Tensor]]:
        """All rows in order, as batches; see [`inputs`]. Without a padding token, texts go one by one."""
        if self.is_text and (self.model.config.pad_token_id is None or self.processor.pad_token_id is None):
            batch_size = 1
        for start in range(0, len(rows), batch_size):
            yield self.inputs(rows[start : start + batch_size], pad_to_max_length=pad_to_max_length)

    @torch.no_grad()
    def logits(self, batches: Iterable[Mapping[str, Any]]) -> torch.Tensor:
        """Logits of all rows, as the model gives them: no temperature is applied.

        Of a tagger, those of all words, row after row: the logits of the first token, NaN for a word without one,
        which was cut off or is nothing to the tokenizer.

        Args:
            batches (`Iterable[Mapping[str, Any]]`): Inputs of the model, such as [`batches`] makes.

        Returns:
            `torch.Tensor` of shape `(N, C)`: Float32 or float64, on the CPU.

        Raises:
            ValueError: If a row gives logits that are NaN or infinite, or there are no batches.
        """
        parts, unseen = [], []
        with evaluation_mode(self.model) as device:
            for batch in inputs_of(batches, device):
                places = batch.pop(WORD_PLACES, None)
                logits = logits_of(self.model(**batch), self.model)
                if places is not None:
                    logits = logits.gather(1, places.clamp(min=0)[..., None].expand(-1, -1, logits.shape[-1]))
                    logits = logits[places != NO_WORD]
                    unseen.append(places[places != NO_WORD].cpu() == UNSEEN)
                parts.append(logits.cpu())
        logits = torch.cat(parts)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        broken = int((~logits.isfinite()).any(1).sum())
        if broken:
            raise ValueError(
                f"{self.name}: the logits of {broken} of {len(logits)} rows are NaN or infinite: the weights are "
                f"damaged, or too large for {self.model.dtype}."
            )
        return logits.masked_fill(torch.cat(unseen)[:, None], torch.nan) if unseen else logits

    def pixel_statistics(self) -> dict[str, list[float]]:
        """Mean and standard deviation that the image processor brings pixels in `[0, 1]` to 0 and 1 with.

        A processor that does not rescale (`do_rescale=False`) leaves them in `[0, 255]`.
        """
        settings, channels = self.processor.to_dict(), len(self._mode())
        factor = 255 * settings["rescale_factor"] if settings.get("do_rescale", False) else 255.0
        normal = settings.get("do_normalize", False)
        mean, std = (settings["image_mean"], settings["image_std"]) if normal else ([0] * channels, [1] * channels)
        return {"mean": [one / factor for one in mean], "std": [one / factor for one in std]}

    def _mode(self) -> str:
        channels = self.model.config.to_dict().get("num_channels", 3)
        return "L" if channels == 1 else "RGB"


def load_classifier(
    name: str,
    *,
    revision: str | None = None,
    device: str | torch.device | None = None,
    trust_remote_code: bool = False,
    max_length: int | None = None,
    multi_label: bool = False,
) -> Classifier:
    """Load a fine-tuned classifier of texts, words or images, by default one of one label per row.

    Args:
        name (`str`): Folder, or Hub id.
        revision (`str`, *optional*): Branch, tag or commit on the Hub.
        device (`str`, *optional*): Where it runs; a GPU if there is one.
        trust_remote_code (`bool`): Whether code of the repository may run.
        max_length (`int`, *optional*): Longest text in tokens; what the tokenizer and the model take if not given.
        multi_label (`bool`): Whether a classifier of several labels per row will do, too.

    Returns:
        `Classifier`: Ready to predict.

    Raises:
        OSError: If model, tokenizer or processor cannot be read.
        ValueError: If it has no classification head or tokenizer, is a regression or, unless asked for, a multi-label
            model, its `label2id` contradicts its `id2label`, or the device cannot be used.
    """
    hub = {"revision": revision, "trust_remote_code": trust_remote_code}
    config = load_config(name, **hub)
    auto = _auto_class(name, config)
    is_text, tags_words = auto is not AutoModelForImageClassification, auto is AutoModelForTokenClassification
    _check_kind(name, config, multi_label)
    _check_names(name, config)
    device = _usable(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model = load_weights(auto, name, config=config, trained=True, **hub)
    load_processor = load_word_tokenizer if tags_words else load_tokenizer if is_text else load_image_processor
    processor = load_processor(name, **hub)
    if is_text:
        of_model = position_limit(model) or config.to_dict().get("max_position_embeddings")
        max_length = _longest(max_length, processor.model_max_length, of_model)
    return Classifier(name, model.eval().to(device), processor, is_text, max_length if is_text else None, tags_words)


def _word_places(made: BatchEncoding, rows: Sequence[Sequence[str]]) -> torch.Tensor:
    """Place of the first token of each word, `(B, W)`; see `UNSEEN` and `NO_WORD`."""
    places = torch.full((len(rows), max(map(len, rows))), NO_WORD)
    for row, words in enumerate(rows):
        places[row, : len(words)] = UNSEEN
        for place, word in word_starts(made, row).items():
            places[row, word] = place
    return places


def _auto_class(name: str, config: Any) -> type:
    """Class that reads models with such a head, by its name in Transformers or by the end of its own."""
    heads = config.architectures or ()
    for auto, known in KINDS.items():
        if any(head in known.values() for head in heads):
            return auto
    for auto in KINDS:
        if any(head.endswith(auto.__name__.removeprefix("AutoModel")) for head in heads):
            return auto
    raise ValueError(
        f"{name} has no head for classifying texts, words or images (its configuration names "
        f"{', '.join(heads) or 'none'}): give a fine-tuned classifier."
    )


def _check_kind(name: str, config: Any, multi_label: bool) -> None:
    if config.num_labels < 2:
        raise ValueError(f"{name} has {config.num_labels} output: a regression has no confidence to be calibrated.")
    if config.problem_type not in (None, SINGLE_LABEL, *[MULTI_LABEL] * multi_label):
        raise ValueError(
            f"{name} is trained for {config.problem_type}; calibration here is that of one label per row, "
            f"{SINGLE_LABEL}."
        )


def _check_names(name: str, config: Any) -> None:
    """Refuse names whose ids are ambiguous: `label2id` may be the default, or what `id2label` says."""
    if set(config.id2label) != set(range(config.num_labels)):
        raise ValueError(f"{name}: id2label of its config.json must name the classes 0 to {config.num_labels - 1}.")
    by_id = {str(config.id2label[place]): place for place in range(config.num_labels)}
    given = {str(label): str(place) for label, place in (config.label2id or {}).items()}
    default = all(label == f"LABEL_{place}" for label, place in given.items())
    if len(by_id) < config.num_labels:
        raise ValueError(f"{name}: its config.json gives two classes one name in id2label: {shown(list(by_id))}.")
    if not default and given != {label: str(place) for label, place in by_id.items()}:
        raise ValueError(
            f"{name}: in its config.json label2id ({shown([f'{label}: {place}' for label, place in given.items()])}) "
            f"contradicts id2label ({shown([f'{place}: {label}' for label, place in by_id.items()])}): fix it."
        )


def _usable(device: str | torch.device) -> torch.device:
    try:
        known = torch.device(device)
        torch.empty(0, device=known)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device {str(device)!r} cannot be used here ({reason}): give cpu, cuda or cuda:1."
        ) from error
    if known.type == "meta":
        raise ValueError("device 'meta' computes nothing: give cpu, cuda or cuda:1.")
    return known


def _longest(asked: int | None, of_tokenizer: int, of_model: int | None) -> int | None:
    """The smallest of the limits, a request beyond them included."""
    limits = [limit for limit in (of_tokenizer, of_model) if limit is not None and limit < UNBOUNDED]
    if asked is not None and asked < 1:
        raise ValueError(f"max_seq_length must be at least 1, got {asked}.")
    return min([*limits, *([asked] if asked is not None else [])], default=None)
