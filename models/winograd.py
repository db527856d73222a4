"""3x3 convolutions with a quarter of the multiplications, for CPUs.

Winograd's F(4x4, 3x3) in the form of Lavin and Gray (2016): a tile of 4x4 outputs is
A^T [(G g G^T) * (B^T d B)] A, with g a kernel, d the 6x6 inputs that the tile sees, and * entry by
entry; summed over input channels, each of the 36 entries is a matrix product. What stands left and
right of it is compiled once by `torch.compile`, whatever the layer's size.

The same function as the direct sum to rounding, which is about eight times as coarse in float32:
spikes, being 0 or 1, are transformed without any, kernels and outputs are not.
"""

# Shapes: N images, C channels in, K channels out, H height, W width, P tiles of 4x4 outputs,
# "planes": one tensor for each entry of a small matrix, row by row.

import functools
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from models.compiled import compiled_kernel
from models.products import Operand, times_transposed, with_gradients

Matrix = tuple[tuple[float, ...], ...]
Planes = Sequence[Tensor] | Tensor
INPUTS: Matrix = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
"""B^T, for the points 0, 1, -1, 2, -2 and infinity."""
KERNELS: Matrix = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
"""G."""
OUTPUTS: Matrix = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)
"""A^T."""
TILE, SEEN, KERNEL = 4, 6, 3
BIASED = SEEN + 1
"""The entry that all outputs of a tile contain once: row and column of the point 1."""
INSIDE = (
    (slice(0, 1), slice(1, None), TILE - 1),
    (slice(1, SEEN - 1), slice(None), 0),
    (slice(SEEN - 1, SEEN), slice(-1), TILE),
)
"""Of the rows, or columns, that a tile sees: which, in which tiles they lie inside the image, and
the first of the image's that they are."""
CHUNK = 2**25
"""Bytes of input tiles that are computed at once, a bound to memory; 16 to 128 MiB are as fast."""


def winograd_convolution(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What `torch.nn.functional.conv2d` computes with stride 1 and padding 1.

    Args:
        inputs: Shape (N, C, H, W), H and W multiples of 4; fastest as `channels_last`.
        weight: Shape (K, C, 3, 3).
        bias: Shape (K,), or none.

    Returns:
        Shape (N, K, H, W), `channels_last`.
    """
    # Kept for the kernels' gradient, which would have to transform the inputs anew.
    keep: list[Tensor] | None = [] if torch.is_grad_enabled() and weight.requires_grad else None
    with torch.no_grad():
        outputs = _convolved(inputs, _transformed(_kernels, _planes(weight)), bias, keep)
    return with_gradients(
        outputs,
        Operand(inputs, _inputs_gradient, [weight]),
        Operand(weight, _weight_gradient, keep or []),
        *([] if bias is None else [Operand(bias, _bias_gradient)]),
    )


def _planes(weight: Tensor) -> Tensor:
    """The kernels' nine entries, shape (9, K, C)."""
    return weight.permute(2, 3, 0, 1).flatten(0, 1)


def _inputs_gradient(grad_outputs: Tensor, weight: Tensor) -> Tensor:
    """The convolution with the kernels turned by 180 degrees, channels in and out exchanged."""
    turned = _planes(weight).unbind(0)[::-1]
    return _convolved(grad_outputs, _transformed(_kernels, turned).transpose(1, 2))


def _bias_gradient(grad_outputs: Tensor) -> Tensor:
    return grad_outputs.sum((0, 2, 3))


def _convolved(
    inputs: Tensor,
    transformed: Tensor,
    bias: Tensor | None = None,
    keep: list[Tensor] | None = None,
) -> Tensor:
    """Outputs of inputs, shape (N, C, H, W), by transformed kernels, shape (36, K, C).

    `keep` takes the transformed inputs of each chunk, shape (36, P, C).
    """
    images, (number, _, *size) = inputs.permute(0, 2, 3, 1), inputs.shape
    outputs = torch.empty(
        (number, transformed.shape[1], *size),
        dtype=inputs.dtype,
        device=inputs.device,
        memory_format=torch.channels_last,
    )
    for part in _chunks(images):
        seen = _transformed(_inputs, _seen(images[part]))
        if keep is not None:
            keep.append(seen)
        entries = [
            times_transposed(tiles, kernels, bias if index == BIASED else None)
            for index, (tiles, kernels) in enumerate(zip(seen, transformed, strict=True))
        ]
        target = _tiles(outputs.permute(0, 2, 3, 1)[part], TILE, TILE)
        target.copy_(_transformed(_outputs, entries).view(target.shape))
    return outputs


def _weight_gradient(grad_outputs: Tensor, *seen: Tensor) -> Tensor:
    """A sum over tiles of G^T [(A dY A^T) * (B^T d B)] G, shape (K, C, 3, 3)."""
    grads = grad_outputs.permute(0, 2, 3, 1)
    total: list[Tensor] = []
    tiles_per_image = grads.shape[1] * grads.shape[2] // TILE**2
    sizes = [inputs.shape[1] // tiles_per_image for inputs in seen]
    parts: Sequence[Tensor] = grads.split(sizes)
    for part, inputs in zip(parts, seen, strict=True):
        tiles = _transformed(_output_gradients, _gathered(part))
        products = [
            times_transposed(grad.t(), entry.t()) for grad, entry in zip(tiles, inputs, strict=True)
        ]
        total = [a.add_(b) for a, b in zip(total, products, strict=True)] if total else products
    gradient = _transformed(_kernel_gradients, total)
    return gradient.view(KERNEL, KERNEL, *gradient.shape[1:]).permute(2, 3, 0, 1)


def _gathered(images: Tensor) -> Tensor:
    """The pixels of every tile as planes: (N, H, W, C) to (16, P, C)."""
    return _tiles(images, TILE, TILE).contiguous().view(TILE**2, -1, images.shape[3])


def _seen(images: Tensor) -> Tensor:
    """The 6x6 pixels that every tile sees, 0 beyond the image, as planes: to (36, P, C)."""
    number, height, width, channels = images.shape
    seen = images.new_empty((SEEN, SEEN, number, height // TILE, width // TILE, channels))
    for beyond in (
        seen[0, :, :, 0],
        seen[-1, :, :, -1],
        seen[:, 0, :, :, 0],
        seen[:, -1, :, :, -1],
    ):
        beyond.zero_()
    for rows, inside_rows, top in INSIDE:
        for columns, inside_columns, left in INSIDE:
            part = seen[rows, columns, :, inside_rows, inside_columns]
            part.copy_(_tiles(images[:, top:, left:], *part.shape[:2]))
    return seen.view(SEEN**2, -1, channels)


def _tiles(images: Tensor, rows: int, columns: int) -> Tensor:
    """Tiles of a size every four pixels, a view: (N, H, W, C) to (rows, columns, N, H', W', C)."""
    number, height, width, channels = images.shape
    image, row, column, channel = images.stride()
    return images.as_strided(
        (rows, columns, number, height // TILE, width // TILE, channels),
        (row, column, image, TILE * row, TILE * column, channel),
        images.storage_offset(),
    )


def _chunks(images: Tensor) -> Iterator[slice]:
    """Slices of the images whose tiles take `CHUNK` bytes."""
    tile_bytes = images[0].numel() * images.element_size() * SEEN**2 // TILE**2
    size = max(1, CHUNK // tile_bytes)
    yield from (slice(start, start + size) for start in range(0, len(images), size))


def _transformed(function: Callable[[Sequence[Tensor]], Tensor], planes: Planes) -> Tensor:
    """Planes of any one shape by a compiled function of flat ones."""
    # By `.data`, as `torch.compile` looks at what a view is a view of, and would compile anew.
    flat = [plane.reshape(-1).data for plane in planes]
    transformed: Tensor = compiled_kernel(function, torch.get_num_threads())(flat)
    return transformed.view(-1, *planes[0].shape)


# A function each, as what is compiled is counted, and limited, by function.


def _inputs(planes: Sequence[Tensor]) -> Tensor:
    return _on_both_sides(INPUTS, planes)


def _kernels(planes: Sequence[Tensor]) -> Tensor:
    return _on_both_sides(KERNELS, planes)


def _outputs(planes: Sequence[Tensor]) -> Tensor:
    return _on_both_sides(OUTPUTS, planes)


def _output_gradients(planes: Sequence[Tensor]) -> Tensor:
    return _on_both_sides(tuple(zip(*OUTPUTS, strict=True)), planes)


def _kernel_gradients(planes: Sequence[Tensor]) -> Tensor:
    return _on_both_sides(tuple(zip(*KERNELS, strict=True)), planes)


def _on_both_sides(matrix: Matrix, planes: Sequence[Tensor]) -> Tensor:
    """M X M^T with the entries of X as planes, and those of the result."""
    size = len(matrix[0])
    columns = [_times(matrix, planes[column::size]) for column in range(size)]
    rows = [_times(matrix, [column[row] for column in columns]) for row in range(len(matrix))]
    return torch.stack([entry for row in rows for entry in row])


def _times(matrix: Matrix, vector: Sequence[Tensor]) -> list[Tensor]:
    """A matrix times a vector of planes."""
    return [
        functools.reduce(
            torch.add, [value * entry for value, entry in zip(row, vector, strict=True) if value]
        )
        for row in matrix
    ]
