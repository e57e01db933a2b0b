"""What certificates and consistencies share: batches of finite images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor

from mass.errors import check_map


def batches(images: Tensor | Iterable) -> Iterator[Tensor]:
    """The image batches of a tensor (B, C, H, W), or of an iterable of such tensors or of (images, labels, …)."""
    seen = False
    for batch in [images] if isinstance(images, Tensor) else images:
        batch = batch[0] if isinstance(batch, tuple | list) else batch
        check_map(batch)
        seen = True
        yield batch
    if not seen:
        raise ValueError("there are no images: the iterable is empty.")


def not_finite(x: Tensor) -> list[int]:
    """Indices of the rows that contain NaN or infinity."""
    return (~x.flatten(1).isfinite().all(1)).nonzero().flatten().tolist()


def require_finite(x: Tensor, what: str) -> None:
    """Refuse NaN and infinity: a comparison with them says nothing."""
    rows = not_finite(x)
    if rows:
        raise ValueError(
            f"{what} contain NaN or infinity in row {rows[0]} of a batch ({len(rows)} rows); clean them first."
        )
