"""Tensors in files: written whole or not at all, read without running code."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from companion.core.errors import Refusal
from companion.core.files import write_atomic


def save_tensors(path: Path, value: Any) -> None:
    """Tensors, numbers and texts in dicts and lists, as torch.save writes them."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    write_atomic(path, buffer.getvalue())


def load_tensors(path: Path) -> Any:
    """What `save_tensors` wrote, on the CPU.

    Raises:
        Refusal: when there is no such file, or it holds something else.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise Refusal(f"There are no weights at {path}.") from None
    except Exception as error:  # a damaged file raises whatever its bytes happen to mean
        raise Refusal(f"{path} is damaged or holds no tensors ({type(error).__name__}): move it away.") from error


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """A state_dict, alone or as others publish it: under 'state_dict', its keys prefixed by 'module.'."""
    state = load_tensors(path)
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise Refusal(f"{path} holds no weights of a network (tensors by name): name a file that does.")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}
