"""One step of training, replayed on a GPU as a CUDA graph: its many small operations cost nothing
to start then."""

from collections.abc import Callable, Iterable

import torch
from torch import nn

# Inputs on the device to a loss, and figures to report.
Loss = Callable[..., tuple[torch.Tensor, torch.Tensor]]
WARM_UP_STEPS = 3
LARGEST_GRADIENT = 1.0


class Optimizer:
    """AdamW whose rate can be changed between the steps of a graph."""

    def __init__(self, parameters: Iterable[nn.Parameter], device: str, **options):
        self.parameters = list(parameters)
        self._rate = torch.zeros((), device=device)
        self._adam = torch.optim.AdamW(
            self.parameters, lr=self._rate, fused=True, capturable=device == "cuda", **options
        )

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the next steps."""
        self._rate.fill_(rate)

    def forget_gradients(self) -> None:
        """Let the next backward make new gradients."""
        self._adam.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Go along the gradients, which are cut to a length of 1."""
        nn.utils.clip_grad_norm_(self.parameters, LARGEST_GRADIENT)
        self._adam.step()


class Step:
    """A step of an optimizer for inputs of one shape; `loss` gives the loss and figures (n,)."""

    def __init__(self, optimizer: Optimizer, loss: Loss, use_graph: bool = True):
        self._optimizer, self._loss, self._use_graph = optimizer, loss, use_graph
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[torch.Tensor] = []
        self._figures = torch.empty(0)

    def __call__(self, rate: float, *inputs: torch.Tensor) -> torch.Tensor:
        """Do one step at a learning rate and return the figures."""
        if self._graph is None and self._use_graph and inputs[0].is_cuda:
            self._capture(inputs)
        self._optimizer.set_rate(rate)
        if self._graph is None:
            return self._run(inputs)
        for kept, value in zip(self._inputs, inputs, strict=True):
            kept.copy_(value)
        self._graph.replay()
        return self._figures.clone()

    def _run(self, inputs: Iterable[torch.Tensor]) -> torch.Tensor:
        self._optimizer.forget_gradients()
        loss, figures = self._loss(*inputs)
        loss.backward()
        self._optimizer.step()
        return figures.detach()

    def _capture(self, inputs: tuple[torch.Tensor, ...]) -> None:
        """Record the step; where that fails, steps go on without a graph."""
        self._inputs = [value.clone() for value in inputs]
        self._optimizer.set_rate(0)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        torch.backends.cudnn.benchmark = True
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_STEPS):
                self._run(self._inputs)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._figures = self._run(self._inputs)
            self._graph = graph
        except Exception as error:
            self._use_graph = False
            torch.cuda.synchronize()
            print(f"no CUDA graph, so steps are slow: {error}", flush=True)
        # Elsewhere shapes are too many to look for the fastest way with each.
        torch.backends.cudnn.benchmark = False
