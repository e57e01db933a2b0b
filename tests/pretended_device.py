"""A device that holds its tensors apart from the CPU's, on any machine: what mixes the two fails as it does on a GPU.

Tensors say that they are on 'cuda' and keep their values in the CPU's memory. Inside `pretended()`, `.to("cuda")` and factory functions
make them, `.cpu()` brings them back, and an operation between both devices raises.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Self
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

CUDA = torch.device("cuda", 0)
# Indices may lie on the CPU; copies are between devices.
_MIXED = {torch.ops.aten.copy_, torch.ops.aten.index, torch.ops.aten._unsafe_index, torch.ops.aten.index_put_, torch.ops.aten.index_put,
          torch.ops.aten._index_put_impl_}  # fmt: skip


def _tensor(values: Any, *, make: Any = torch.tensor, device: Any = None, **options: Any) -> torch.Tensor:
    made = make(values, **options)
    return made if device is None else made.to(device)


_DRIVER = {  # what would ask for one, and the library's kernels for it
    "torch.cuda._lazy_init": lambda: None,
    "torch.cuda.get_rng_state": lambda device=None: torch.get_rng_state(),
    "torch.cuda.set_rng_state": lambda state, device=None: None,
    "torch.tensor": _tensor,
    "torch.as_tensor": partial(_tensor, make=torch.as_tensor),
    "mass.native._on_device": lambda x: None,
}


class There(torch.Tensor):
    """A tensor on the pretended device."""

    values: torch.Tensor

    @staticmethod
    def __new__(cls, values: torch.Tensor) -> Self:
        made = torch.Tensor._make_wrapper_subclass(
            cls, values.shape, values.stride(), values.storage_offset(), dtype=values.dtype, device="meta", requires_grad=values.requires_grad
        )  # fmt: skip
        made.values = values.detach()
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return CUDA

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    @property
    def is_meta(self) -> bool:  # type: ignore[override]
        return False

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"There({self.values})"

    def tolist(self) -> Any:
        return self.values.tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")

    __array__ = numpy

    def new_tensor(self, values: Any, **options: Any) -> Any:  # type: ignore[override]
        return torch.tensor(values, **{"dtype": self.dtype, **options}).to(CUDA)

    def cuda(self, *_: Any, **__: Any) -> There:
        return self

    def cpu(self, **_: Any) -> torch.Tensor:
        return self.to("cpu")

    def __getitem__(self, index: Any) -> Any:
        # PyTorch would make tensors of lists on the device that it takes this for, 'meta'.
        parts = index if isinstance(index, tuple) else (index,)
        return super().__getitem__(tuple(torch.tensor(part) if isinstance(part, list) else part for part in parts))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
    there = any(isinstance(t, There) for t in tensors)
    if there and func.overloadpacket not in _MIXED and any(not isinstance(t, There) and t.ndim for t in tensors):
        raise RuntimeError(f"Expected all tensors to be on the same device: {func} reads cuda:0 and cpu.")
    wanted = kwargs.get("device")
    if wanted is not None:
        there = torch.device(wanted).type in ("cuda", "meta")  # what PyTorch itself takes them for
        kwargs = kwargs | {"device": torch.device("cpu")}
    plain = tree_map(lambda t: t.values if isinstance(t, There) else t, (args, kwargs))
    assert not any(t.is_meta for t in tree_flatten(plain)[0] if isinstance(t, torch.Tensor)), f"no values for {func}"
    out = func(*plain[0], **plain[1])
    first = func._schema.arguments[0].alias_info if args else None
    if first is not None and first.is_write and isinstance(out, torch.Tensor):
        return args[0]  # an operation in place
    return tree_map(lambda t: There(t) if there and isinstance(t, torch.Tensor) else t, out)


class _Factories(TorchDispatchMode):
    """What makes tensors from nothing, or brings them there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


@contextmanager
def pretended() -> Iterator[torch.device]:
    """Inside it there is a device 'cuda', with none of the kernels that are made for one."""
    swap = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        with ExitStack() as stack:
            for name, does in _DRIVER.items():
                stack.enter_context(mock.patch(name, does))
            stack.enter_context(_Factories())
            yield CUDA
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swap)
