"""Distil: train a small backbone to see as a larger teacher does, on images that need no labels.

    python -m training.torch_distil --student slim --teacher torchvision/mobilenet_v2 \\
        --teacher-weights F.safetensors --images captured/ --out DIR --minutes 60

The teacher looks at every image once; the student learns its standardised embedding from other
views of the same image and, where labels exist, the probabilities of a linear probe on the teacher
and the labels themselves. Student `starter` goes on from the bundled weights, `slim` is cut from
the teacher. A run may be stopped at any time and resumed; with a budget in steps it then ends
exactly as if it had not been. It owns the order of events, the checkpoints and what is written.

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

from training import torch_checkpoint as checkpoint
from training.distil_images import Images, load, write_whole
from training.distil_recipe import DistilConfig
from training.distil_schedule import batch_rows, rate
from training.torch_augment import seed_of
from training.torch_backbone import build
from training.torch_device import Compute
from training.torch_distil_loss import losses, total
from training.torch_distil_student import Student, start
from training.torch_distil_teacher import Targets, embed, probe_of
from training.torch_distil_views import views

# Told what is being done, how far it is (0 to 1), and the newest losses.
OnProgress = Callable[[str, float, dict[str, float]], None]

_LOG_EVERY = 50
# An average of few steps would be dragged back by the start.
_AVERAGE_STARTS = 10


@dataclass(frozen=True, slots=True)
class Distilled:
    """How a distillation ended; `student` is a file that holds the averaged weights."""

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
) -> Distilled | None:
    """Train the student. Returns None if stopped before its first step; nothing is lost even then.

    Writes `student.safetensors` (`features.*`, and `head.*` where labels exist) and `distil.json`
    to `config.out`, and beside them what a resumed run needs.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    config.out.mkdir(parents=True, exist_ok=True)
    recipe, threads = config.recipe, config.threads or torch.get_num_threads()

    def tell_reading(fraction: float) -> None:
        progress("reading images", fraction, {})

    def tell_teacher(fraction: float) -> bool:
        progress("asking the teacher", fraction, {})
        return not should_stop()

    images = load(config.images, recipe.image_px, config.out, tell_reading)
    teacher = build(config.teacher, config.teacher_weights)
    targets = embed(teacher, images, recipe.teacher_px, config.out, threads, tell_teacher)
    if targets is None:
        return None
    progress("fitting the probe", 0.0, {})
    torch.manual_seed(recipe.seed)
    probe = probe_of(targets, images, recipe.seed, config.out)
    student = start(config, images, targets, teacher, probe)
    return _Run(config, images, targets, probe, student).run(progress, should_stop)


class _Run:
    def __init__(
        self,
        config: DistilConfig,
        images: Images,
        targets: Targets,
        probe: nn.Linear | None,
        student: Student,
    ) -> None:
        self._config, self._recipe = config, config.recipe
        self._images, self._targets = images, targets
        self._compute = Compute()
        self._device = self._compute.device
        self._student = student.to(self._device)
        self._student.backbone.to(memory_format=torch.channels_last)
        self._probe = probe.to(self._device) if probe else None
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
        return self._write(is_finished=not is_stopped)

    def _fraction(self) -> float:
        if self._config.steps is not None:
            return self._step / self._config.steps
        return self._elapsed_s / (60 * (self._config.minutes or 0))

    def _learn(self, fraction: float) -> dict[str, float]:
        recipe = self._recipe
        for group in self._optimizer.param_groups:
            group["lr"] = recipe.learning_rate * rate(fraction, recipe.warmup_share)
        rows_B = batch_rows(len(self._images), recipe.batch, recipe.seed, self._step)
        draw = torch.Generator().manual_seed(seed_of(recipe.seed, self._step))
        size_px = recipe.size_px if fraction < 1 - recipe.finish_share else recipe.finish_px
        pixels_BHWC = torch.from_numpy(self._images.pixels_NHWC[rows_B]).to(self._device)
        x_BCHW = views(pixels_BHWC, size_px, recipe, draw)
        wanted_BD = self._targets.rows(rows_B).to(self._device)
        labels_B = torch.from_numpy(self._images.labels_N[rows_B]).to(self._device)
        with self._compute.autocast():
            found = losses(self._student, self._probe, x_BCHW, wanted_BD, labels_B, recipe)
        loss = total(found)
        self._optimizer.zero_grad(set_to_none=True)
        scaler = self._compute.scaler
        scaler.scale(loss).backward()
        scaler.step(self._optimizer)
        scaler.update()
        self._follow()
        return {name: float(value.detach()) for name, value in {"loss": loss, **found}.items()}

    def _follow(self) -> None:
        """Move the average a little towards the weights of this step."""
        decay = min(self._recipe.average, (1 + self._step) / (_AVERAGE_STARTS + self._step))
        with torch.no_grad():
            for name, value in self._floats().items():
                self._average[name].lerp_(value, 1 - decay)

    def _floats(self) -> dict[str, Tensor]:
        state = self._student.state_dict()
        return {k: v for k, v in state.items() if v.is_floating_point()}

    def _note(self, newest: dict[str, float], recent: list[float]) -> None:
        told = {"step": self._step, "elapsed_s": self._elapsed_s, **newest}
        told["loss"] = sum(recent) / len(recent)
        self._log.append({name: round(value, 4) for name, value in told.items()})

    def _identity(self) -> str:
        """Name the run by all that it depends on but its budget of time, which may be extended."""
        c = self._config
        facts = [dataclasses.asdict(c.recipe), self._targets.name, c.student, c.steps]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def _save(self) -> None:
        tensors = {
            **checkpoint.prefixed("student.", self._student.state_dict()),
            **checkpoint.prefixed("average.", self._average),
            **checkpoint.prefixed("optimizer.", checkpoint.optimizer_tensors(self._optimizer)),
        }
        facts = {"step": self._step, "elapsed_s": self._elapsed_s, "log": self._log}
        checkpoint.save(self._checkpoint, self._identity(), tensors, facts)

    def _load(self) -> None:
        found = checkpoint.load(self._checkpoint, self._identity())
        if found is None:
            return
        tensors, facts = found
        self._student.load_state_dict(checkpoint.under("student.", tensors))
        average = checkpoint.under("average.", tensors)
        self._average = {k: average[k].to(self._device) for k in self._average}
        checkpoint.load_optimizer(self._optimizer, checkpoint.under("optimizer.", tensors))
        self._step, self._elapsed_s, self._log = facts["step"], facts["elapsed_s"], facts["log"]

    def _write(self, *, is_finished: bool) -> Distilled:
        out = self._config.out
        for name, state in (("student", self._average), ("student-raw", self._floats())):
            write_whole(out / f"{name}.safetensors", save(_as_bundled(state)))
        ended = Distilled(
            out / "student.safetensors",
            is_finished,
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


def _as_bundled(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name the tensors as the bundle does, and leave out what only training needs."""
    named = {name.removeprefix("backbone."): value for name, value in state.items()}
    kept = ("features.", "head.")
    return {k: v.detach().cpu().contiguous() for k, v in named.items() if k.startswith(kept)}


if __name__ == "__main__":
    from training.torch_distil_command import main

    main()
