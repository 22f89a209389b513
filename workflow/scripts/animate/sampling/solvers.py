"""The two solvers with the official model's noise schedules, on diffusers' implementations."""

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler

TRAIN_STEPS = 1000


def make_solver(name: str, steps: int, shift: float, device: torch.device | str = "cpu"):
    """Return a diffusers scheduler ready for `steps` steps of one segment.

    Args:
        name: "unipc" (UniPC, arXiv:2302.04867) or "dpm++" (DPM-Solver++, arXiv:2211.01095), both
            of order 2 on the flow's velocity.
        shift: moves the schedule towards noise, sigma = shift s / (1 + (shift - 1) s).
    """
    if name == "unipc":
        solver = UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift
        )
        # The official schedule starts below 1 and stops one step before 0.
        solver.set_timesteps(sigmas=np.linspace(0.999, 0, steps + 1)[:-1], device=device)
    else:
        solver = DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift
        )
        solver.set_timesteps(steps, device=device)
        # This scheduler takes no sigmas, and its own schedule differs from the official one.
        sigmas = np.linspace(1, 0, steps + 1)[:-1]
        sigmas = shift * sigmas / (1 + (shift - 1) * sigmas)
        solver.timesteps = torch.from_numpy((TRAIN_STEPS * sigmas).astype(np.int64)).to(device)
        solver.sigmas = torch.from_numpy(np.append(sigmas, 0).astype(np.float32))
    # Else it looks for the first timestep, and of two equal ones takes the second.
    solver.set_begin_index(0)
    return solver
