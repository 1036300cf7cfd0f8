"""Muon in single precision beside torch's own."""

import pytest

from diptych.llmops.pretrain.muon import Muon, orthogonal


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return torch


@pytest.mark.parametrize("shape", [(24, 24), (40, 16), (16, 40)])
def test_singular_values_come_near_one_and_their_vectors_stay(torch, shape):
    left, _, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    matrix = left @ torch.diag(torch.logspace(-1, 1, min(shape))) @ right
    turned = left.T @ orthogonal(matrix) @ right.T
    singular = turned.diagonal()
    assert (turned - torch.diag(singular)).abs().max() < 1e-3
    assert singular.min() > 0.3
    assert singular.max() < 1.3


def test_it_steps_as_torchs_own_does_in_half_precision(torch):
    start, targets = torch.randn(32, 20), torch.randn(30, 32, 20)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    made = [
        Muon([ours], lr=0.05, weight_decay=0.1),
        torch.optim.Muon([theirs], lr=0.05, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    ]
    for target in targets:
        for parameter, optimizer in zip((ours, theirs), made, strict=True):
            ((parameter - target) ** 2).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() < 0.02 * moved


def test_it_goes_on_where_a_checkpoint_was_taken(torch):
    def step(optimizer, parameter, count):
        for _ in range(count):
            (parameter**2).sum().backward()
            optimizer.step()
            optimizer.zero_grad()

    whole, part = (torch.nn.Parameter(torch.ones(6, 4) + torch.eye(6, 4)) for _ in range(2))
    step(Muon([whole], lr=0.01), whole, 6)
    first = Muon([part], lr=0.01)
    step(first, part, 3)
    again = Muon([part], lr=0.01)
    again.load_state_dict(first.state_dict())
    step(again, part, 3)
    assert torch.equal(whole, part)
