"""Small ONNX files with the official networks' inputs and outputs, written field by field."""

from collections.abc import Iterable
from itertools import pairwise
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
    path: Path,
    nodes: list[bytes],
    tensors: dict,
    shapes: dict,
    external: Iterable[tuple[str, np.ndarray]] = (),
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    (source, source_shape), (target, target_shape) = shapes.items()
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, "test")
    graph += b"".join(_field(5, _tensor(name, values)) for name, values in tensors.items())
    for name, values in external:
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
    _write(path, nodes, {} if external else {"weight": weight}, shapes, shares.items())


def write_large_detector(path: Path, boxes: np.ndarray) -> None:
    """Write a detector (n, 3, 640, 640) -> (n, m, 6) of YOLOv10m's size, 15 million random weights,
    and of its activations' sizes, that always finds `boxes` (m, 6)."""
    random = np.random.default_rng(0)
    widths = (3, 48, 96, 192, 384, 576, 576, 576, 576, 576)
    nodes, tensors, last = [], {}, "images"
    for number, (before, after) in enumerate(pairwise(widths)):
        name = f"layer{number}"
        tensors[name] = 0.05 * random.standard_normal((after, before, 3, 3), np.float32)
        step = [2, 2] if before != after else [1, 1]
        sizes = {"pads": [1, 1, 1, 1], "strides": step}
        nodes += [_node("Conv", [last, name], f"{name}.sum", **sizes)]
        nodes += [_node("Sigmoid", [f"{name}.sum"], f"{name}.out")]
        last = f"{name}.out"
    nodes += [
        _node("GlobalAveragePool", [last], "mean"),
        _node("Conv", ["mean", "weight", "bias"], "flat"),
        _node("Reshape", ["flat", "shape"], "output0"),
    ]
    tensors["weight"] = np.zeros((boxes.size, widths[-1], 1, 1), np.float32)
    tensors["bias"] = boxes.astype(np.float32).reshape(-1)
    tensors["shape"] = np.array([-1, *boxes.shape])
    shapes = {"images": ("batch", 3, 640, 640), "output0": ("batch", *boxes.shape)}
    _write(path, nodes, tensors, shapes)


WIDTH, DEPTH, HEADS, ROWS, COLUMNS = 1280, 32, 16, 16, 12
POINTS, UPSAMPLED = 133, 256


def write_large_pose(path: Path) -> None:
    """Write ViTPose-H whole-body (n, 3, 256, 192) -> (n, 133, 64, 48) with random weights, each in
    a file of its own beside `path`, as published: 2.6 GB. It is sure of every point, somewhere."""
    random = np.random.default_rng(0)
    nodes: list[bytes] = []
    weights: dict[str, tuple[int, ...]] = {}
    constants = {
        "images": np.array([-1, WIDTH, ROWS * COLUMNS]),
        "tokens": np.array([-1, ROWS * COLUMNS, WIDTH]),
        "heads": np.array([-1, ROWS * COLUMNS, 3, HEADS, WIDTH // HEADS]),
        "grid": np.array([-1, WIDTH, ROWS, COLUMNS]),
        **{name: np.array(index) for index, name in enumerate(("q", "k", "v"))},
        "scale": np.array((WIDTH // HEADS) ** -0.5),
        "half": np.array(0.5),
        "one": np.array(1.0),
        "root": np.array(2**-0.5),
    }

    def run(kind: str, inputs: list[str], **sizes: list[int]) -> str:
        nodes.append(_node(kind, inputs, f"value{len(nodes)}", **sizes))
        return f"value{len(nodes) - 1}"

    def weight(name: str, *shape: int) -> str:
        weights[name] = shape
        return name

    def linear(value: str, name: str, before: int, after: int) -> str:
        product = run("MatMul", [value, weight(f"{name}.weight", before, after)])
        return run("Add", [product, weight(f"{name}.bias", after)])

    def normal(value: str, name: str) -> str:
        scales = [weight(f"{name}.{part}", WIDTH) for part in ("weight", "bias")]
        return run("LayerNormalization", [value, *scales])

    def block(value: str, name: str) -> str:
        heads = linear(normal(value, f"{name}.norm1"), f"{name}.qkv", WIDTH, 3 * WIDTH)
        heads = run("Transpose", [run("Reshape", [heads, "heads"])], perm=[2, 0, 3, 1, 4])
        q, k, v = (run("Gather", [heads, part]) for part in ("q", "k", "v"))
        alike = run("MatMul", [run("Mul", [q, "scale"]), run("Transpose", [k], perm=[0, 1, 3, 2])])
        seen = run("MatMul", [run("Softmax", [alike]), v])
        seen = run("Reshape", [run("Transpose", [seen], perm=[0, 2, 1, 3]), "tokens"])
        value = run("Add", [value, linear(seen, f"{name}.proj", WIDTH, WIDTH)])
        wide = linear(normal(value, f"{name}.norm2"), f"{name}.fc1", WIDTH, 4 * WIDTH)
        error = run("Add", [run("Erf", [run("Mul", [wide, "root"])]), "one"])
        wide = run("Mul", [run("Mul", [wide, error]), "half"])
        return run("Add", [value, linear(wide, f"{name}.fc2", 4 * WIDTH, WIDTH)])

    patches = ["input", weight("patch.weight", WIDTH, 3, 16, 16), weight("patch.bias", WIDTH)]
    value = run("Conv", patches, strides=[16, 16])
    value = run("Transpose", [run("Reshape", [value, "images"])], perm=[0, 2, 1])
    value = run("Add", [value, weight("positions", ROWS * COLUMNS, WIDTH)])
    for number in range(DEPTH):
        value = block(value, f"blocks.{number}")
    value = run("Transpose", [normal(value, "norm")], perm=[0, 2, 1])
    value = run("Reshape", [value, "grid"])
    for number, before in enumerate((WIDTH, UPSAMPLED)):
        up = weight(f"deconv{number}.weight", before, UPSAMPLED, 4, 4)
        sizes = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
        value = run("Relu", [run("ConvTranspose", [value, up], **sizes)])
    last = [value, weight("final.weight", POINTS, UPSAMPLED, 1, 1)]
    nodes.append(_node("Conv", last, "scores"))
    nodes.append(_node("Add", ["scores", "one"], "heatmaps"))
    shapes = {"input": ("batch", 3, 256, 192), "heatmaps": ("batch", POINTS, 64, 48)}
    filled = (
        (name, 0.02 * random.standard_normal(shape, np.float32)) for name, shape in weights.items()
    )
    _write(path, nodes, constants, shapes, filled)
