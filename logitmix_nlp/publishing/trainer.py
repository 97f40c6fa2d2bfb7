# SPDX-License-Identifier: Apache-2.0
"""The Trainer's side of the Hub: when something is pushed, and what happens if that fails."""

import json
import sys
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo
from huggingface_hub.utils import validate_repo_id
from transformers import PreTrainedModel
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, HubStrategy, SaveStrategy
from transformers.utils import logging

from logitmix_nlp.publishing.card_trainer import CardMixin
from logitmix_nlp.publishing.hub.public_text import public_arguments
from logitmix_nlp.publishing.hub.push_queue import (
    KEPT_NAME,
    PushQueue,
    Save,
    advice_for,
    last_step,
    left_checkpoints,
    new_copy,
)
from logitmix_nlp.publishing.hub.retries import HubPushError, RetryPolicy, cause_of
from logitmix_nlp.publishing.hub.secrets import check_token
from logitmix_nlp.publishing.hub.upload import Target, find_or_create, push_command, push_files
from logitmix_nlp.publishing.hub.white_list import TRAINING_ARGUMENTS_NAME, copy_files, publishable_files
from logitmix_nlp.training.model_folders import check_loads

__all__ = ["HubPushError", "PublishingMixin", "push_or_explain"]

logger = logging.get_logger(__name__)


class PublishingMixin(CardMixin):
    """Stock `Trainer` whose pushes to the Hub are safe. All flags (`push_to_hub`, `hub_strategy`, …) stay.

    - A push reads a copy of the checkpoint, or itself if it stays, so each commit "Training in progress, step N" holds
      the model of step N. No save is skipped: they wait in a queue (`hub_always_push` changes nothing).
    - Transient errors are retried with back-off. Others are logged with their cause at the next save and at the end;
      training goes on, also when the Hub is down at the start.
    - Only a white list is uploaded, see [`hub.white_list.publishable_files`]; no optimizer state, so that with
      `hub_strategy="checkpoint"` and `"all_checkpoints"` the copies on the Hub can be loaded and evaluated, while
      resuming needs the local folder. `training_args.bin` is saved without `hub_token`.
    - Only `waiting_saves` copies wait, in `output_dir/unpushed`, so that the disk does not fill; later saves replace
      one that is given up. With `hub_strategy="all_checkpoints"` they do not, so each is retried until training ends;
      copies are made if `save_total_limit` may delete the checkpoint, and stay while the disk has room. Those not
      pushed in the end are named in `lost_checkpoints`; a run that was killed pushes them when it is resumed.

    Explicit [`push_to_hub`] raises [`HubPushError`]; `push_error` holds the cause of the last push that failed.
    """

    retry_policy = RetryPolicy()
    waiting_saves = 3  # copies on the disk
    push_error: str | None = None
    _push_target: Target | None = None
    _push_queue: PushQueue | None = None
    _looked_for_left = False
    _lost: tuple[Save, ...] = ()

    # ---- Saving ----

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """Save as the base class does, the arguments without the token, and also as JSON that may be published."""
        token, self.args.hub_token = self.args.hub_token, None
        try:
            super()._save(output_dir, state_dict)
        finally:
            self.args.hub_token = token
        if self.args.should_save:
            path = Path(self.args.output_dir if output_dir is None else output_dir) / TRAINING_ARGUMENTS_NAME
            path.write_text(json.dumps(public_arguments(self.args), indent=2) + "\n", encoding="utf-8")

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save as the base class does; the push that follows with `push_to_hub=True` warns if it fails."""
        super().save_model(output_dir, _internal_call=True)
        if self.args.push_to_hub and not _internal_call:
            try:
                self.push_to_hub(commit_message="Model save")
            except HubPushError as error:
                logger.warning(str(error))

    # ---- Pushing ----

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Create the repository; if the Hub does not answer, warn, and create it with the first push.

        Args:
            token (`str`, *optional*): Token that may write. Default: `args.hub_token`, or that of the login.
            private (`bool`, *optional*): Whether a new repository is private. Default: `args.hub_private_repo`.

        Raises:
            ValueError: If the name or the token cannot be right.
        """
        if not self.is_world_process_zero():
            return
        target = self._target(token, private)
        validate_repo_id(target.repo_id)
        check_token(target.token)
        self._push_target, self.push_in_progress = target, None
        try:
            find_or_create(target, self.retry_policy.timeout)
        except Exception as error:
            self.push_error = cause_of(error, target.token)
            logger.warning(
                f"The Hub repository {target.repo_id} could not be created: {self.push_error}. Training starts, "
                "and each push tries again."
            )
        self.hub_model_id = target.repo_id

    def _target(self, token: str | None = None, private: bool | None = None, revision: str | None = None) -> Target:
        """Where to push: what is given, else what the arguments say."""
        if self._push_target is not None and token is None and private is None and revision is None:
            return self._push_target
        args = self.args
        return Target(
            args.hub_model_id if args.hub_model_id is not None else Path(args.output_dir).absolute().name,
            token=args.hub_token if token is None else token,
            private=args.hub_private_repo if private is None else private,
            revision=args.hub_revision if revision is None else revision,
        )

    @property
    def push_failed(self) -> bool:
        """Whether the last push failed, or the Hub could not be reached and nothing was pushed since."""
        return self.push_error is not None

    @property
    def lost_checkpoints(self) -> dict[str, str]:
        """Checkpoints that `hub_strategy="all_checkpoints"` could not push, with what to do about each."""
        return {save.name: save.advice for save in self._lost}

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train as the base class does; after an error, saves that wait are not pushed any more."""
        try:
            self._queue_what_was_left(resume_from_checkpoint)
            return super().train(resume_from_checkpoint, *args, **kwargs)
        except BaseException:
            if self._push_queue is not None:
                self._push_queue.stop()
                self._warn_of_failures()
                self._push_queue = None
            raise

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Put a copy of the checkpoint into the queue."""
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END:
            return
        self._warn_of_failures()
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        step, by_epoch = self.state.global_step, self.args.save_strategy == SaveStrategy.EPOCH
        message = f"Training in progress, step {step}" + (f", epoch {round(self.state.epoch)}" if by_epoch else "")
        commits = [("", message)]
        own = Path(checkpoint_folder).name if self.args.hub_strategy == HubStrategy.ALL_CHECKPOINTS else None
        if own is not None or self.args.hub_strategy == HubStrategy.CHECKPOINT:
            commits.append((f"{own or 'last-checkpoint'}/", f"{message}, checkpoint"))
        self._enqueue(checkpoint_folder, f"step {step}", commits, self._target(), own)

    def _queue_what_was_left(self, checkpoint: str | bool | None) -> None:
        """Queue checkpoints that an earlier process may not have pushed, up to the one that the run resumes."""
        if not self.args.push_to_hub or not self.is_world_process_zero():
            return
        self._looked_for_left, target, output_dir = True, self._target(), Path(self.args.output_dir)
        wanted, until = self.args.hub_strategy == HubStrategy.ALL_CHECKPOINTS, last_step(checkpoint, output_dir)
        for step, folder in left_checkpoints(output_dir, until, target, wanted):
            name, message = f"{PREFIX_CHECKPOINT_DIR}-{step}", f"Training in progress, step {step}, checkpoint"
            self._enqueue(folder, f"step {step}", [(f"{name}/", message)], target, name)

    def _enqueue(
        self, folder: str | Path, name: str, commits: list[tuple[str, str]], target: Target, own: str | None = None
    ) -> Future:
        """Queue a save, as a copy unless it stays; warn if that is not possible. Nothing later is pushed to `own`."""
        folder, output_dir = Path(folder), Path(self.args.output_dir)
        self._push_queue = self._push_queue or PushQueue(self._push_save, self.waiting_saves)
        copies, vanishes = output_dir / KEPT_NAME, own is None or self.args.save_total_limit is not None
        place = new_copy(copies, own or name.replace(" ", "-")) if vanishes and folder.parent != copies else folder
        advice, copied = advice_for(place, output_dir, target, own), place.parent == copies
        save = Save(name, place, tuple(commits), advice, target, copied, needed=own is not None)
        save.done.add_done_callback(lambda done: self._note(save, done))
        try:
            check_loads(folder)
            if place != folder:
                copy_files(folder, publishable_files(folder), place)
        except (OSError, ValueError) as error:
            self.push_error = f"The model of {name} could not be copied: {cause_of(error, target.token)}."
            save = replace(save, folder=folder, advice=advice_for(folder, output_dir, target, own))
            logger.warning(f"{self.push_error} It is not pushed, and stays in {folder}. {save.advice}")
            save.done.set_exception(HubPushError(f"{self.push_error} {save.advice}"))
            return save.done
        self._push_queue.submit(save)
        return save.done

    def _note(self, save: Save, done: Future) -> None:
        self._lost += (save,) if save.needed and done.exception() is not None else ()

    def _push_save(self, save: Save, on_failure: Any, sleep: Any) -> CommitInfo:
        """Push one save, in the thread of the queue."""
        for place, message in save.commits:
            files = {place + name: save.folder / name for name in publishable_files(save.folder)}
            commit = self._push_now(files, message, save.target, on_failure=on_failure, sleep=sleep)
        return commit

    def _push_now(self, files: dict[str, Path], message: str, target: Target, **hooks: Any) -> CommitInfo:
        try:
            commit = push_files(target, files, message, self.retry_policy, **hooks)
        except HubPushError as error:
            self.push_error = str(error)
            raise
        self.push_error = None
        self.hub_model_id = target.repo_id
        return commit

    def _warn_of_failures(self) -> None:
        for message in [] if self._push_queue is None else self._push_queue.messages():
            logger.warning(message)

    def _finish_current_push(self) -> None:
        """Wait until the queue is empty, and warn of what was not pushed."""
        if self._push_queue is None:
            return
        if self._push_queue.unfinished:
            logger.info("Waiting for the saves that are still to be pushed.")
        self._push_queue.wait()
        self._warn_of_failures()

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> CommitInfo | Future | None:
        """Save the model and its card to `output_dir` and push what may be published of that folder.

        Args:
            commit_message (`str`, *optional*): Message of the commit.
            blocking (`bool`): Wait for the end of the push; otherwise it goes on in the background, and the end of the
                program waits up to 5 minutes. For sharded weights wait for the future: Python uploads no more then.
            token (`str`, *optional*): Token that may write. Default: `args.hub_token`, or that of the login.
            revision (`str`, *optional*): Branch. Default: `args.hub_revision`, or `main`.
            private (`bool`, *optional*): Whether a new repository is private. Default: `args.hub_private_repo`.
            kwargs: Given to `create_model_card`.

        Returns:
            `CommitInfo`, or a `Future` of it if not `blocking`; `None` in processes other than the first.

        Raises:
            HubPushError: If the push fails; the message has the command that pushes `output_dir` later.
        """
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        self.save_model(_internal_call=True)
        folder, target = Path(self.args.output_dir), self._target(token, private, revision)
        if kwargs.get("model_name") is None:
            kwargs["model_name"] = target.repo_id.split("/")[-1]
        model = self.accelerator.unwrap_model(self.model)
        if isinstance(model, PreTrainedModel) and model.model_tags:
            tags = kwargs.get("tags") or []
            tags = [tags] if isinstance(tags, str) else list(tags)
            kwargs["tags"] = [*tags, *(tag for tag in model.model_tags if tag not in tags)]
        try:
            self.create_model_card(**kwargs)  # on all processes, which evaluate together
        except (OSError, ValueError) as error:
            cause = cause_of(error, target.token)
            logger.warning(f"The model card could not be written: {cause}. The model is pushed without a new one.")
        if not self.is_world_process_zero():
            return None
        if not self._looked_for_left:
            self._queue_what_was_left(True)
        self._finish_current_push()
        if not blocking:
            return self._enqueue(folder, "the end", [("", commit_message)], target)
        try:
            check_loads(folder)
            files = {name: folder / name for name in publishable_files(folder)}
            return self._push_now(files, commit_message, target)
        except (HubPushError, ValueError) as error:
            self.push_error = cause_of(error, target.token)
            raise HubPushError(
                f"{self.push_error} Nothing is lost: all of it lies in {folder}. To push it later: "
                f"{push_command(folder, target)}"
            ) from None


def push_or_explain(trainer: PublishingMixin, **card: Any) -> bool:
    """Push at the end of a script; if that fails, say on stderr why and how to push later.

    Args:
        trainer (`PublishingMixin`): The trainer.
        card: Given to `create_model_card`.

    Returns:
        `bool`: Whether the push succeeded and no checkpoint is missing; `False` should make the exit status 1.
    """
    pushed = True
    try:
        trainer.push_to_hub(**card)
    except HubPushError as error:
        print("error:", error, file=sys.stderr)
        pushed = False
    for name, advice in trainer.lost_checkpoints.items():
        print(f"error: the checkpoint of {name} is not on the Hub. {advice}", file=sys.stderr)
    return pushed and not trainer.lost_checkpoints
