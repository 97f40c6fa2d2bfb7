# SPDX-License-Identifier: Apache-2.0
"""Command line arguments of image classification: which model, which data, and what images add to training."""

from dataclasses import dataclass, field

from logitmix_nlp.functional.checks import check_bins
from logitmix_nlp.images.backbones import BACKBONES, TIMM_BACKBONES
from logitmix_nlp.images.recipes import RECIPES
from logitmix_nlp.training.arguments import LogitMixTrainingArguments

__all__ = ["ImageDataArguments", "ImageModelArguments", "ImageTrainingArguments"]

MOST_PIXELS = 10_000  # per side; one image of them is 1.2 GB in float32


@dataclass
class ImageModelArguments:
    """A pretrained model, or a configuration that is trained from scratch."""

    model_name_or_path: str | None = field(
        default=None, metadata={"help": "Pretrained model to fine-tune: folder or name on the Hub."}
    )
    config_name: str | None = field(
        default=None,
        metadata={
            "help": f"Model to train from scratch: one of {', '.join(BACKBONES)}, a folder or .json file with its "
            f"configuration, or with timm installed timm/NAME or one of {', '.join(TIMM_BACKBONES)}. resnet20 if "
            "neither this nor model_name_or_path is given."
        },
    )
    config_overrides: str | None = field(
        default=None,
        metadata={"help": "Settings of config_name to change: 'depths=[1,1,1],hidden_act=gelu', or a JSON object."},
    )
    image_size: int | None = field(
        default=None,
        metadata={
            "help": "Height and width of what a model from scratch sees, in pixels. Unset: 4 times the images' own "
            "for the models with a small stem, else the configuration's, else 224."
        },
    )
    ignore_mismatched_sizes: bool = field(
        default=False, metadata={"help": "Whether to start a new head if the model's own has another size."}
    )
    cache_dir: str | None = field(
        default=None, metadata={"help": "Where downloaded models and datasets are kept. Default: the Hub's cache."}
    )
    model_revision: str = field(default="main", metadata={"help": "Branch, tag or commit of the model on the Hub."})
    token: str | None = field(
        default=None, metadata={"help": "Hub token for private models and data. Default: the one you logged in with."}
    )

    def __post_init__(self):
        if self.model_name_or_path is not None:
            given = [f"--{name}" for name in ("config_name", "config_overrides", "image_size") if vars(self)[name]]
            if given:
                raise ValueError(
                    f"{', '.join(given)} describes a model from scratch, --model_name_or_path a pretrained one: "
                    "give one of both."
                )
        elif self.config_name is None:
            self.config_name = "resnet20"
        if self.image_size is not None and not 1 <= self.image_size <= MOST_PIXELS:
            raise ValueError(f"--image_size must be at least 1 and at most {MOST_PIXELS}, got {self.image_size}.")


@dataclass
class ImageDataArguments:
    """Which images; none of the sources given means the 8x8 digits that come with scikit-learn."""

    dataset_name: str | None = field(
        default=None, metadata={"help": "Dataset on the Hub, or a local folder, also one of `save_to_disk`."}
    )
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of that dataset."})
    data_dir: str | None = field(
        default=None,
        metadata={"help": "Folder of parquet files train-*.parquet, and validation-*.parquet, test-*.parquet."},
    )
    train_dir: str | None = field(
        default=None, metadata={"help": "Folder of training images, in one folder per class (imagefolder)."}
    )
    validation_dir: str | None = field(default=None, metadata={"help": "Folder of validation images, likewise."})
    test_dir: str | None = field(default=None, metadata={"help": "Folder of test images, likewise."})
    train_file: str | None = field(
        default=None, metadata={"help": "Training data, a parquet file with an image and a label column."}
    )
    validation_file: str | None = field(default=None, metadata={"help": "Validation data, likewise."})
    test_file: str | None = field(default=None, metadata={"help": "Test data, likewise; labels are optional."})
    train_val_split: float = field(
        default=0.15,
        metadata={"help": "Share of the training rows that becomes the validation split where there is none."},
    )
    image_column_name: str = field(default="image", metadata={"help": "Column of the images."})
    label_column_name: str = field(default="label", metadata={"help": "Column of the labels."})
    max_train_samples: int | None = field(
        default=None,
        metadata={
            "help": "Train on so many rows only: the first, or of image folders, whose rows lie class by class, a "
            "sample that is the same whatever the seed."
        },
    )
    max_eval_samples: int | None = field(
        default=None, metadata={"help": "Evaluate so many rows only, chosen likewise."}
    )
    max_predict_samples: int | None = field(default=None, metadata={"help": "Predict the first so many rows only."})
    n_bins: int = field(default=15, metadata={"help": "Number of confidence bins of ECE and OE."})

    def __post_init__(self):
        groups = {
            "--dataset_name": (self.dataset_name,),
            "--data_dir": (self.data_dir,),
            "--train_dir": (self.train_dir, self.validation_dir, self.test_dir),
            "--train_file": (self.train_file, self.validation_file, self.test_file),
        }
        given = [flag for flag, values in groups.items() if any(value is not None for value in values)]
        if len(given) > 1:
            raise ValueError(f"Give one source of images, got {' and '.join(given)} (or their --validation_ forms).")
        if self.dataset_config_name is not None and self.dataset_name is None:
            raise ValueError("--dataset_config_name belongs to --dataset_name; give both or neither.")
        if not 0.0 < self.train_val_split < 1.0:
            raise ValueError(f"--train_val_split must lie between 0 and 1, got {self.train_val_split}.")
        for name in ("max_train_samples", "max_eval_samples", "max_predict_samples"):
            value = vars(self)[name]
            if value is not None and value < 1:
                raise ValueError(f"--{name} must be at least 1, got {value}.")
        check_bins(self.n_bins, "--n_bins")

    @property
    def is_default(self) -> bool:
        """Whether no source was given, so that the digits are taken."""
        sources = (
            self.dataset_name, self.data_dir, self.train_dir, self.validation_dir, self.test_dir, self.train_file,
            self.validation_file, self.test_file,
        )  # fmt: skip
        return all(source is None for source in sources)


@dataclass
class ImageTrainingArguments(LogitMixTrainingArguments):
    """[`LogitMixTrainingArguments`] with the augmentation of images and a learning rate that falls in steps.

    Raises:
        ValueError: Also on milestones outside `(0, 1)` or beside another schedule, a negative padding, and a
            probability outside `[0, 1]`.
    """

    recipe: str | None = field(
        default=None,
        metadata={
            "help": "Schedule of a paper: cutmix, for CIFAR (SGD with Nesterov momentum 0.9, weight decay 1e-4, batch "
            "128, learning rate 0.1 divided by 10 at 50%% and 75%% of training; for CutMix mix_prob 0.5), or bit, "
            "BiT-HyperRule for fine-tuning (SGD with momentum 0.9, batch 512, learning rate 0.003 divided by 10 at "
            "30%%, 60%% and 90%% of 500, 10,000 or 20,000 steps for less than 20,000, less than 500,000 or more rows; "
            "mixup with alpha 0.1 from 20,000 rows on; models from scratch see images smaller than 96 x 96 pixels at "
            "128, others at 384). Weights of normalisation layers and biases do not decay, as in Trainer. What you "
            "set wins, and what it replaces goes with it: lr_scheduler_type or warmup_steps the milestones, optim its "
            "optim_args and learning_rate, num_train_epochs the steps, mix_method its alpha."
        },
    )
    crop_padding: int | None = field(
        default=None,
        metadata={
            "help": "Black pixels around a training image before it is cropped to its size at random. Unset: an "
            "eighth of the size, 4 at 32 pixels."
        },
    )
    flip_prob: float | None = field(
        default=None,
        metadata={"help": "Probability that a training image is mirrored. Unset: 0.5, and 0 for the digits."},
    )
    lr_milestones: list[float] | None = field(
        default=None,
        metadata={"help": "Shares of training at which the learning rate falls; with lr_scheduler_type=constant."},
    )
    lr_decay: float = field(default=0.1, metadata={"help": "Factor of the learning rate at each milestone."})

    def __post_init__(self):
        """Check what this class adds, then let the base class do its part."""
        super().__post_init__()
        if self.recipe is not None and self.recipe not in RECIPES:
            raise ValueError(f"Unknown recipe {self.recipe!r}. Available: {', '.join(RECIPES)}.")
        if self.lr_milestones:
            if not all(0.0 < milestone < 1.0 for milestone in self.lr_milestones):
                raise ValueError(f"lr_milestones are shares of training between 0 and 1, got {self.lr_milestones}.")
            if self.lr_scheduler_type != "constant" or self.warmup_steps:
                raise ValueError(
                    f"lr_milestones lower a constant learning rate, but lr_scheduler_type is "
                    f"{self.lr_scheduler_type.value!r} and warmup_steps {self.warmup_steps}: set "
                    "lr_scheduler_type='constant' and warmup_steps=0."
                )
        if not 0.0 < self.lr_decay < float("inf"):
            raise ValueError(f"lr_decay must be a finite number above 0, got {self.lr_decay}.")
        if self.crop_padding is not None and self.crop_padding < 0:
            raise ValueError(f"crop_padding must be at least 0, got {self.crop_padding}.")
        if self.flip_prob is not None and not 0.0 <= self.flip_prob <= 1.0:
            raise ValueError(f"flip_prob must lie in [0, 1], got {self.flip_prob}.")
