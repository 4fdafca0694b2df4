from __future__ import annotations

import pytest
import torch

from fringemap.errors import SettingsError
from fringemap.settings import NetworkSettings
from fringemap.training.networks import count_weights, make_network


def test_the_papers_network_has_its_124_million_weights():
    with torch.device("meta"):
        network = make_network(NetworkSettings(network="paper"))
    assert count_weights(network) == pytest.approx(124e6, rel=0.01)
    widths = [block[0].out_channels for block in network.encoder]
    assert widths == [128, 256, 512, 1024, 2048]


def test_the_compact_network_has_its_950_thousand_weights():
    assert count_weights(make_network(NetworkSettings())) == pytest.approx(0.95e6, rel=0.01)


@pytest.mark.parametrize(("kernel", "transposed"), [(3, 2), (3, 3), (5, 2), (5, 3)])
@pytest.mark.parametrize("name", ["compact", "paper"])
def test_each_pixel_gets_a_logit_whatever_kernels_and_sides(name, kernel, transposed):
    settings = NetworkSettings(
        network=name, base_width=4, kernel=kernel, transposed_kernel=transposed, activation="gelu", dropout_bottom=0.3
    )
    network = make_network(settings)
    shape = (3 * network.stride, 2 * network.stride)
    assert network(torch.randn(2, 3, *shape)).shape == (2, 1, *shape)


def test_one_channel_is_enough_if_one_is_asked_for():
    network = make_network(NetworkSettings(base_width=4, channels="largest"))
    assert network(torch.randn(1, 1, 64, 32)).shape == (1, 1, 64, 32)


def test_a_fresh_network_takes_nothing_for_a_spot():
    network = make_network(NetworkSettings(base_width=4)).eval()
    with torch.inference_mode():
        assert network(torch.randn(1, 3, 64, 64)).max() < -1


def test_every_weight_of_both_networks_is_learned():
    for name in ("compact", "paper"):
        network = make_network(NetworkSettings(network=name, base_width=4))
        network(torch.randn(2, 3, 64, 64)).square().mean().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_a_kernel_without_a_middle_is_refused():
    with pytest.raises(SettingsError, match="kernel = 4 px has no middle"):
        make_network(NetworkSettings(kernel=4))
