"""Muon in single precision: an optimizer for the matrices of hidden layers.

Torch's Muon orthogonalises in bfloat16, which is more than ten times as slow on a processor without
instructions for it.
"""

import math

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration, as Jordan chose them
ITERATIONS = 5


class Muon:
    """Step along the orthogonalised momentum of each matrix; used as torch's optimizers are.

    K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; steps are
    scaled to the size of AdamW's as in J. Liu et al., "Muon is scalable for LLM training", 2025.

    Parameters
    ----------
    matrices : list of torch.nn.Parameter
        Each of two dimensions.
    lr : float
        Learning rate.
    weight_decay : float
        Decoupled, as AdamW's.
    """

    def __init__(self, matrices: list, lr: float, weight_decay: float = 0.0):
        self.param_groups = [{"params": matrices, "lr": lr, "weight_decay": weight_decay}]
        self.momenta = [matrix.detach().new_zeros(matrix.shape) for matrix in matrices]

    def step(self) -> None:
        """Take one step; every matrix must have a gradient."""
        import torch

        group = self.param_groups[0]
        with torch.no_grad():
            for matrix, momentum in zip(group["params"], self.momenta, strict=True):
                momentum.lerp_(matrix.grad, 1 - MOMENTUM)
                ahead = matrix.grad.lerp(momentum, MOMENTUM)  # Nesterov's
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                size = 0.2 * math.sqrt(max(matrix.shape))
                matrix.sub_(orthogonal(ahead), alpha=group["lr"] * size)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients."""
        for matrix in self.param_groups[0]["params"]:
            matrix.grad = None if set_to_none else matrix.grad.zero_()

    def state_dict(self) -> dict:
        """Return the state for a checkpoint."""
        return {"momenta": self.momenta}

    def load_state_dict(self, state: dict) -> None:
        """Restore the state of a checkpoint."""
        for momentum, saved in zip(self.momenta, state["momenta"], strict=True):
            momentum.copy_(saved)


def orthogonal(matrix):
    """Return the nearest orthogonal matrix, singular values about 0.7 to 1.2 (Newton-Schulz)."""
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    nearest = matrix.T if tall else matrix
    nearest = nearest / nearest.norm().clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = nearest @ nearest.T
        nearest = a * nearest + (b * gram + c * gram @ gram) @ nearest
    return nearest.T if tall else nearest
