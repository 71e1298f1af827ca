"""Training on transcribed speech: objective, data, schedule, loop, checkpoints."""

from speechquant.learn.training.data import Batch, Example, Speech, collate, micro_batches
from speechquant.learn.training.history import History, read_history
from speechquant.learn.training.loop import VERSION, Plan, Search, Trained, Trainer
from speechquant.learn.training.objective import CTC, Outputs, Task, TeacherForcing, divergence, task_of
from speechquant.learn.training.optimizer import optimizer_of, set_learning_rates
from speechquant.learn.training.processes import processes
from speechquant.learn.training.recomputing import recomputing
from speechquant.learn.training.schedule import Schedule
from speechquant.learn.training.student import LossWeights, Student
from speechquant.learn.training.targets import BPETargets, CTCTargets, Targets, sentence, spelled, targets_of

__all__ = [
    "CTC",
    "VERSION",
    "BPETargets",
    "Batch",
    "CTCTargets",
    "Example",
    "History",
    "LossWeights",
    "Outputs",
    "Plan",
    "Schedule",
    "Search",
    "Speech",
    "Student",
    "Targets",
    "Task",
    "TeacherForcing",
    "Trained",
    "Trainer",
    "collate",
    "divergence",
    "micro_batches",
    "optimizer_of",
    "processes",
    "read_history",
    "recomputing",
    "sentence",
    "set_learning_rates",
    "spelled",
    "targets_of",
    "task_of",
]
