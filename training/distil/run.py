"""Distil: train a small backbone to reproduce a teacher's features, on images without labels.

Teacher and student get the same views. Student `starter` starts from the bundled weights. `slim` is
pruned from the teacher and learns its feature maps too, which needs fewer views. If images have
labels, a head is fitted at the end. A run may be stopped at any time and resumed. With a budget in
steps, the result does not depend on interruptions. This file owns the order of events, the
checkpoints and the files written.

B batch, C channels, H/W pixels.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from core.system.files import write_whole
from training.backbones.backbone import Backbone, build
from training.blocks import checkpoint as checkpoint
from training.blocks.device import Compute, mix_seed
from training.distil.head import fit_head
from training.distil.images import Images, load
from training.distil.loss import losses, total
from training.distil.recipe import DistilConfig
from training.distil.schedule import batch_rows, rate
from training.distil.student import PRUNED_FROM, SLIM, STARTER, as_bundled, start, tap_layers
from training.distil.teacher import FeatureExtractor
from training.distil.views import views

# Called with the current task, its progress (0 to 1), and the newest losses.
OnProgress = Callable[[str, float, dict[str, float]], None]

_LOG_EVERY = 50
# The average is shorter in the first steps, which would dominate it.
_AVERAGE_STARTS = 10


@dataclass(frozen=True, slots=True)
class Distilled:
    """The result of a distillation. `student` is a file of the averaged weights."""

    student: Path
    is_finished: bool
    steps: int
    images_seen: int
    elapsed_s: float
    loss: float


def distil(
    config: DistilConfig,
    progress: OnProgress = lambda doing, fraction, newest: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Distilled:
    """Train the student. A stopped run is written too, and can be resumed.

    Writes `student.safetensors` (`features.*`, and of a finished run with labels `head.*`),
    `distil.json` and the files for resuming to `config.out`.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    config.out.mkdir(parents=True, exist_ok=True)

    def report_reading(fraction: float) -> None:
        progress("reading images", fraction, {})

    images = load(config.images, config.recipe.image_px, config.out, report_reading)
    teacher = build(config.teacher, config.teacher_weights, cache=config.teacher_cache)
    progress("preparing the student", 0.0, {})
    torch.manual_seed(config.recipe.seed)
    return _Run(config, images, teacher).run(progress, should_stop)


class _Run:
    def __init__(self, config: DistilConfig, images: Images, teacher: Backbone) -> None:
        self._config, self._recipe = config, config.recipe
        self._images = images
        self._compute = Compute(half_on_cpu=config.recipe.bfloat16)
        self._device = self._compute.device
        is_pruned = config.student == SLIM and config.teacher == PRUNED_FROM
        taps = tap_layers(teacher.net.features) if is_pruned else ()
        # A teacher with the student's resolution needs no resizing.
        own_px = None if is_pruned or teacher.name == STARTER else teacher.pixels.size_px
        self._teachers_features = FeatureExtractor(teacher, taps, own_px)
        self._student = start(config, images, teacher, self._teachers_features).to(self._device)
        self._teacher = teacher.to(self._device, memory_format=torch.channels_last)
        self._student.backbone.to(memory_format=torch.channels_last)
        self._average = {k: v.clone() for k, v in self._floats().items()}
        self._optimizer = torch.optim.AdamW(
            self._student.parameters(), weight_decay=self._recipe.weight_decay
        )
        self._step, self._elapsed_s = 0, 0.0
        self._log: list[dict[str, float]] = []
        self._checkpoint = config.out / "checkpoint.safetensors"
        if config.resume:
            self._load()

    def run(self, progress: OnProgress, should_stop: Callable[[], bool]) -> Distilled:
        earlier_s, started = self._elapsed_s, time.monotonic()
        saved, recent = started, list[float]()
        is_stopped = False
        self._student.train()
        while (fraction := self._fraction()) < 1:
            if is_stopped := should_stop():
                break
            newest = self._learn(fraction)
            self._step += 1
            now = time.monotonic()
            self._elapsed_s = earlier_s + now - started
            recent.append(newest["loss"])
            if self._step % _LOG_EVERY == 0:
                self._note(newest, recent)
                recent.clear()
            if now - saved > self._config.checkpoint_every_s:
                self._save()
                saved = now
            progress("distilling", fraction, newest)
        if recent:
            self._note(newest, recent)
        self._save()
        if is_stopped:
            return self._write(None)
        return self._write(self._fit_head(progress, should_stop))

    def _fit_head(
        self, progress: OnProgress, should_stop: Callable[[], bool]
    ) -> dict[str, Tensor] | None:
        averaged = self._student.state_dict() | self._average
        self._student.load_state_dict(averaged)

        def report(fraction: float) -> bool:
            progress("fitting the head", fraction, {})
            return not should_stop()

        return fit_head(
            self._student.backbone.cpu(),
            self._images,
            self._recipe.serve_px,
            self._recipe.seed,
            self._config.threads or torch.get_num_threads(),
            report,
        )

    def _fraction(self) -> float:
        if self._config.steps is not None:
            return self._step / self._config.steps
        return self._elapsed_s / (60 * (self._config.minutes or 0))

    def _learn(self, fraction: float) -> dict[str, float]:
        recipe = self._recipe
        for group in self._optimizer.param_groups:
            group["lr"] = recipe.learning_rate * rate(fraction, recipe.warmup_share)
        rows_B = batch_rows(len(self._images), recipe.batch, recipe.seed, self._step)
        draw = torch.Generator().manual_seed(mix_seed(recipe.seed, self._step))
        x_BCHW = views(self._images.pixels_NHWC, rows_B, recipe, draw).to(self._device)
        with self._compute.autocast():
            with torch.no_grad():
                target = self._student.target(self._teachers_features(x_BCHW))
            features = self._student.extract(x_BCHW)
        weighted = losses(self._student, features, target, recipe)
        loss = total(weighted)
        self._optimizer.zero_grad(set_to_none=True)
        scaler = self._compute.scaler
        scaler.scale(loss).backward()
        scaler.unscale_(self._optimizer)
        nn.utils.clip_grad_norm_(self._student.parameters(), recipe.gradient_norm)
        scaler.step(self._optimizer)
        scaler.update()
        self._update_average()
        return {name: float(value.detach()) for name, value in {"loss": loss, **weighted}.items()}

    def _update_average(self) -> None:
        """Move the average a little towards the weights of this step."""
        decay = min(self._recipe.average, (1 + self._step) / (_AVERAGE_STARTS + self._step))
        with torch.no_grad():
            for name, value in self._floats().items():
                self._average[name].lerp_(value, 1 - decay)

    def _floats(self) -> dict[str, Tensor]:
        state = self._student.state_dict()
        return {k: v for k, v in state.items() if v.is_floating_point()}

    def _note(self, newest: dict[str, float], recent: list[float]) -> None:
        entry = {"step": self._step, "elapsed_s": self._elapsed_s, **newest}
        entry["loss"] = sum(recent) / len(recent)
        self._log.append({name: round(value, 4) for name, value in entry.items()})

    def _digest(self) -> str:
        """Return the digest of all that the run depends on except its minutes, which may change."""
        c = self._config
        facts = [dataclasses.asdict(c.recipe), self._images.digest, c.teacher, c.student, c.steps]
        hashed = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        for tensor in self._teacher.weights().values():
            hashed.update(tensor.cpu().numpy().tobytes())
        return hashed.hexdigest()

    def _save(self) -> None:
        tensors = {
            **checkpoint.prefixed("student.", self._student.state_dict()),
            **checkpoint.prefixed("average.", self._average),
            **checkpoint.prefixed("optimizer.", checkpoint.optimizer_tensors(self._optimizer)),
        }
        facts = {"step": self._step, "elapsed_s": self._elapsed_s, "log": self._log}
        checkpoint.save(self._checkpoint, self._digest(), tensors, facts)

    def _load(self) -> None:
        saved = checkpoint.load(self._checkpoint, self._digest())
        if saved is None:
            return
        tensors, facts = saved
        self._student.load_state_dict(checkpoint.under("student.", tensors))
        average = checkpoint.under("average.", tensors)
        self._average = {k: average[k].to(self._device) for k in self._average}
        checkpoint.load_optimizer(self._optimizer, checkpoint.under("optimizer.", tensors))
        self._step, self._elapsed_s, self._log = facts["step"], facts["elapsed_s"], facts["log"]

    def _write(self, head: dict[str, Tensor] | None) -> Distilled:
        """Write the student and its log. A stopped run has no head."""
        out = self._config.out
        write_whole(out / "student.safetensors", save(as_bundled(self._average) | (head or {})))
        ended = Distilled(
            out / "student.safetensors",
            head is not None,
            self._step,
            self._step * min(self._recipe.batch, len(self._images)),
            round(self._elapsed_s, 1),
            self._log[-1]["loss"] if self._log else math.nan,
        )
        facts = dataclasses.asdict(self._config) | {
            "images_left_out": self._images.num_left_out,
            "classes": self._images.classes,
            "ended": dataclasses.asdict(ended),
            "log": self._log,
        }
        text = json.dumps(facts, indent=1, default=str, allow_nan=True)
        write_whole(out / "distil.json", text.encode())
        return ended
