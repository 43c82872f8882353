"""The networks of model.py."""

import torch

import model


def test_the_network_has_the_sizes_of_the_design():
    network = model.build(model.ARCHITECTURES["ResidualCNN"], 8)
    assert sum(p.numel() for p in network.parameters()) == 8_017_840
    for n_frames in (1, 30, 128, 300):
        slices = torch.zeros(2, 1, 128, n_frames)
        with torch.inference_mode():
            assert network(slices).shape == (2, 8)
            assert network.embedder()(slices).shape == (2, 40)
    x = torch.rand(2, 1, 128, 128)
    network.eval()
    with torch.inference_mode():
        assert torch.allclose(network.classify(network.embedder()(x)), network(x), atol=1e-5)


def test_the_light_network_takes_any_length_and_gives_unit_vectors():
    network = model.build(model.ARCHITECTURES["StridedCNN"], 5).eval()
    for n_frames in (1, 30, 128, 300):
        slices = torch.rand(3, 1, 128, n_frames)
        with torch.inference_mode():
            vectors = network.embedder()(slices)
            assert vectors.shape == (3, 128)
            assert torch.allclose(vectors.norm(dim=1), torch.ones(3), atol=1e-5)
            assert torch.allclose(network.classify(vectors), network(slices), atol=1e-5)
