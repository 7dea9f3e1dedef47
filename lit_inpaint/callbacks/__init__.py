"""Callbacks: EMA, panels, metrics, throughput, health, stopping and resuming."""

from lit_inpaint.callbacks.compile import Compile
from lit_inpaint.callbacks.ema import EMA
from lit_inpaint.callbacks.frozen import FrozenRank
from lit_inpaint.callbacks.health import Health
from lit_inpaint.callbacks.panels import Panels
from lit_inpaint.callbacks.progress import StepProgressBar
from lit_inpaint.callbacks.restart import Restart
from lit_inpaint.callbacks.throughput import Throughput
from lit_inpaint.callbacks.val_metrics import ValMetrics

__all__ = ["EMA", "Compile", "FrozenRank", "Health", "Panels", "Restart", "StepProgressBar", "Throughput", "ValMetrics"]
