"""The architectures that Figures 4 and 11 draw: stages of a small model, counted by hand."""

import torch
from torch import nn

from flowrepro.config.schema import NIFDeepConfig
from flowrepro.figures.across_dimensions import architecture, fig4
from flowrepro.flows.nets import mlp


def small(monkeypatch) -> list[dict]:
    """Three levels of two steps on 3x16x16 images, M = 6, two couplings on the manifold."""
    monkeypatch.setattr(architecture, "SHAPE", (3, 16, 16))
    model = NIFDeepConfig("nif_deep", 3, 2, 5, latent_dim=6, latent_couplings=2, latent_hidden=[7, 7, 7])
    config = type("Config", (), {"model": model})
    return architecture.stages(config)


def test_stages_are_those_of_the_model(monkeypatch):
    image, *levels, latent, manifold, inner = small(monkeypatch)
    assert (image["size"], latent["size"], manifold["size"], inner["size"]) == (768, 768, 6, 6)
    assert [level["shape"] for level in levels] == ["12×8×8", "24×4×4", "48×2×2"]
    assert [level["leaves_shape"] for level in levels] == ["6×8×8", "12×4×4", "48×2×2"]
    assert [level["leaves"] for level in levels] == [384, 192, 192]
    for level in levels:
        assert (level["couplings"], level["act_norms"], level["hidden_layers"], level["hidden"]) == (
            2,
            2,
            2,
            5,
        )
    assert (manifold["couplings"], manifold["act_norms"], manifold["permutations"]) == (2, 1, 1)
    assert (manifold["hidden_layers"], manifold["hidden"]) == (3, 7)
    assert latent["parameters"] == latent["nf_parameters"]


def test_checks_notice_a_level_that_keeps_too_much(monkeypatch):
    rows = [row | {"architecture": "paper"} for row in small(monkeypatch)]
    table = fig4.table([{"seed": 0, "rows": rows}])
    assert fig4.share_that_leaves(table).tolist() == [0.5, 0.5]
    assert fig4.all_that_leaves(table).tolist() == fig4.sizes("image")(table).tolist() == [768]
    table.loc[table.stage == "level 1", "leaves"] = 100
    assert fig4.share_that_leaves(table).tolist() == [100 / 768, 0.5]
    assert fig4.all_that_leaves(table).tolist() == [484]


def test_widths_are_those_of_the_hidden_layers():
    assert architecture.hidden_widths(mlp([2, 8, 9, 4], torch.Generator())) == [8, 9]
    assert architecture.hidden_widths(nn.Sequential(nn.Linear(2, 3))) == []
