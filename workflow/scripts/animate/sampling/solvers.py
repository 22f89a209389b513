"""The solvers and their noise schedules, on diffusers' implementations."""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)

TRAIN_STEPS = 1000


# UniPC divides by what is 0 at pure noise; the official schedule starts there.
HIGHEST_SIGMA = 0.999


def make_solver(
    name: str,
    steps: int,
    shift: float,
    device: torch.device | str = "cpu",
    timesteps: Sequence[float] = (),
):
    """Return a diffusers scheduler ready for one segment, from noise to its latents.

    Args:
        name: "unipc" (UniPC, arXiv:2302.04867) or "dpm++" (DPM-Solver++, arXiv:2211.01095), both
            of order 2 on the flow's velocity v; "euler", x + (s' - s) v for noise levels s and the
            next s'; "lcm" (Latent Consistency Models, arXiv:2310.04378), which takes each step to
            s = 0 and adds fresh noise up to s'. The last one draws from the `generator` of `step`.
        steps: the steps, evenly spaced from 1 before the shift.
        shift: moves the schedule towards noise, sigma = shift s / (1 + (shift - 1) s).
        timesteps: 1000 times the levels before the shift, falling, in place of those of `steps`.
    """
    sigmas = np.array(timesteps) / TRAIN_STEPS
    if name in ("euler", "lcm"):
        solver = FlowMatchEulerDiscreteScheduler(stochastic_sampling=name == "lcm")
        sigmas = sigmas if timesteps else np.linspace(1, 0, steps + 1)[:-1]
        # It would shift in fp32, in which the smallest shifts are 0.
        solver.set_timesteps(sigmas=_shifted(sigmas, shift), device=device)
    elif name == "unipc":
        solver = UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift
        )
        even = np.linspace(HIGHEST_SIGMA, 0, steps + 1)[:-1]
        sigmas = np.minimum(sigmas, HIGHEST_SIGMA) if timesteps else even
        solver.set_timesteps(sigmas=sigmas, device=device)
    else:
        solver = DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift
        )
        sigmas = sigmas if timesteps else np.linspace(1, 0, steps + 1)[:-1]
        solver.set_timesteps(len(sigmas), device=device)
        # This scheduler takes no sigmas, and its own schedule differs from the official one.
        sigmas = _shifted(sigmas, shift)
        solver.timesteps = torch.from_numpy((TRAIN_STEPS * sigmas).astype(np.int64)).to(device)
        solver.sigmas = torch.from_numpy(np.append(sigmas, 0).astype(np.float32))
    # Else it looks for the first timestep, and of two equal ones takes the second.
    solver.set_begin_index(0)
    return solver


def _shifted(sigmas: np.ndarray, shift: float) -> np.ndarray:
    return shift * sigmas / (1 + (shift - 1) * sigmas)
