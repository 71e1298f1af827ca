"""One process on a CPU or a GPU, or many that share the work, by accelerate."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import torch

from speechquant.errors import MissingExtraError

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["processes"]

# The others wait while the first process evaluates.
_PATIENCE = timedelta(hours=6)


def processes() -> Accelerator:
    """The processes that `accelerate launch` or `torchrun` started, or this one alone.

    A GPU is used where there is one of CUDA's kind; others lack operators of the losses.

    Raises:
        MissingExtraError: accelerate is not installed.
    """
    try:
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
    except ImportError as error:
        raise MissingExtraError("training needs accelerate: pip install 'speechquant[train]'") from error
    return Accelerator(
        cpu=not torch.cuda.is_available(),
        kwargs_handlers=[
            # LayerDrop and SpecAugment leave parameters without gradients now and then.
            DistributedDataParallelKwargs(find_unused_parameters=True),
            InitProcessGroupKwargs(timeout=_PATIENCE),
        ],
    )
