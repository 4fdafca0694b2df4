"""A model package that can be trained on: that of ``made_model`` with the fresh weights of a tiny network beside it."""

from __future__ import annotations

from dataclasses import asdict

from made_model import write_made_model

# made_model looks at two channels.
NETWORK = {"base_width": 2, "channels": "both"}


def write_trainable_model(folder):
    """Write the package."""
    import torch

    from fringemap.settings import NetworkSettings
    from fringemap.training.checkpoint import write_tensors
    from fringemap.training.networks import make_network
    from fringemap.training.package import WEIGHTS

    settings = NetworkSettings(**NETWORK)
    torch.manual_seed(0)
    network = make_network(settings)
    write_made_model(folder, about={"network": asdict(settings)})
    write_tensors(folder / WEIGHTS, network.state_dict(), {"network": asdict(settings)})
    return folder
