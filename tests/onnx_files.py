"""Small ONNX files with the official networks' inputs and outputs, written field by field."""

from pathlib import Path

import numpy as np

FLOAT, WHOLE = 1, 7
INTEGERS = 7


def _varint(value: int) -> bytes:
    low, high = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])


def _field(number: int, value: int | str | bytes) -> bytes:
    """Return one protobuf field: a whole number, or text, bytes or a message."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _tensor(name: str, values: np.ndarray) -> bytes:
    dims = b"".join(_field(1, size) for size in values.shape)
    kind, stored = (FLOAT, "<f4") if values.dtype.kind == "f" else (WHOLE, "<i8")
    return dims + _field(2, kind) + _field(8, name) + _field(9, values.astype(stored).tobytes())


def _external_tensor(name: str, values: np.ndarray, folder: Path) -> bytes:
    """Return a tensor whose numbers are in a file of that name, and write the file."""
    (folder / name).write_bytes(values.astype("<f4").tobytes())
    dims = b"".join(_field(1, size) for size in values.shape)
    place = _field(1, "location") + _field(2, name)
    return dims + _field(2, FLOAT) + _field(8, name) + _field(13, place) + _field(14, 1)


def _value(name: str, shape: tuple[int | str, ...]) -> bytes:
    dims = (_field(1, s) if isinstance(s, int) else _field(2, s) for s in shape)
    tensor = _field(1, FLOAT) + _field(2, b"".join(_field(1, dim) for dim in dims))
    return _field(1, name) + _field(2, _field(1, tensor))


def _node(kind: str, inputs: list[str], output: str, **sizes: list[int]) -> bytes:
    attributes = (
        _field(1, name) + b"".join(_field(8, size) for size in values) + _field(20, INTEGERS)
        for name, values in sizes.items()
    )
    parts = [*(_field(1, name) for name in inputs), _field(2, output), _field(4, kind)]
    return b"".join(parts) + b"".join(_field(5, attribute) for attribute in attributes)


def _write(
    path: Path, nodes: list[bytes], tensors: dict, shapes: dict, external: dict | None = None
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    (source, source_shape), (target, target_shape) = shapes.items()
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, "test")
    graph += b"".join(_field(5, _tensor(name, values)) for name, values in tensors.items())
    for name, values in (external or {}).items():
        graph += _field(5, _external_tensor(name, values, path.parent))
    graph += _field(11, _value(source, source_shape)) + _field(12, _value(target, target_shape))
    path.write_bytes(_field(1, 8) + _field(8, _field(2, 17)) + _field(7, graph))


def write_detector(path: Path, boxes: np.ndarray, batch: int | str = 1) -> None:
    """Write a detector (batch, 3, 640, 640) -> (batch, n, 6) that always finds `boxes` (n, 6), but
    scores the first as red, in 0..1, as the picture is on average."""
    weight = np.zeros((boxes.size, 3, 1, 1), np.float32)
    weight[4, 0] = 1
    nodes = [
        _node("GlobalAveragePool", ["images"], "mean"),
        _node("Conv", ["mean", "weight", "bias"], "flat"),
        _node("Reshape", ["flat", "shape"], "output0"),
    ]
    bias = boxes.astype(np.float32).reshape(-1)
    bias[4] = 0
    tensors = {"weight": weight, "bias": bias, "shape": np.array([-1, *boxes.shape])}
    shapes = {"images": (batch, 3, 640, 640), "output0": (batch, *boxes.shape)}
    _write(path, nodes, tensors, shapes)


def write_pose(path: Path, batch: int | str = 1, external: int = 0) -> None:
    """Write a pose network (batch, 3, 256, 192) -> (batch, 133, 64, 48) whose even points are where
    the normalised picture is red and whose odd points are where it is blue.

    With `external`, its weights are spread over that many files beside `path`.
    """
    weight = np.full((133, 3, 1, 1), -0.1, np.float32)
    weight[0::2, 0] = weight[1::2, 2] = 0.2
    total = external * (external + 1) / 2
    shares = {f"backbone.blocks.{n}.weight": weight * n / total for n in range(1, external + 1)}
    nodes = [
        *([_node("Sum", list(shares), "weight")] if external else []),
        _node("AveragePool", ["input"], "small", kernel_shape=[4, 4], strides=[4, 4]),
        _node("Conv", ["small", "weight"], "heatmaps"),
    ]
    shapes = {"input": (batch, 3, 256, 192), "heatmaps": (batch, 133, 64, 48)}
    _write(path, nodes, {} if external else {"weight": weight}, shapes, shares)
