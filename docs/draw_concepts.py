"""Draws the pictures of concepts.md from networks that it trains on the digits.

python docs/draw_concepts.py

Two networks, equal but for the surrogate of their training: a triangle of width 1, and one of width
0.3, through which hardly any gradient comes. It takes a minute or two on 2 CPU cores. The pictures
are the same in every run on one kind of machine; another processor trains slightly other networks.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from models import SURROGATES, GradientEstimator, ModelConfig, NeuronConfig, oracle
from models.dynamics import fire
from models.neurons import SpikingNeurons
from pipeline import checkpoints
from pipeline.attacks import AttackConfig, NoiseConfig, PGDConfig, SquareConfig, build_attack
from pipeline.attacks.fgsm import FGSMConfig
from pipeline.config import TrialConfig, input_spec
from pipeline.data import Dataset, DigitsConfig, load_dataset
from pipeline.experiment import train
from pipeline.seeding import seeded
from pipeline.threats import Member, load_suite, members
from pipeline.training.config import TrainingConfig
from pipeline.training.vanilla import VanillaConfig
from reports.plots.style import GREY, RC
from reports.statistics import wilson_interval

EPSILON = 0.1
NARROW = 0.3
BLUE, ORANGE, PALE = "#0072B2", "#D55E00", "#e6e6e6"
OWN = GradientEstimator(method="own")


@dataclass(frozen=True)
class Drawing:
    """What the pictures are drawn from."""

    data: Dataset
    honest: nn.Module
    narrow: nn.Module
    images: Tensor
    """Test images, shape (N, 1, 8, 8), in [0, 1]."""
    labels: Tensor


def trained(data: Dataset, width: float, epochs: int) -> nn.Module:
    """A plainly trained network whose neurons learn through a triangle of this width."""
    config = TrialConfig(
        data=DigitsConfig(),
        model=ModelConfig(architecture="small", num_timesteps=4, neuron=NeuronConfig(width=width)),
        training=TrainingConfig(epochs=epochs, augmentation="none"),
        strategy=VanillaConfig(method="vanilla"),
    )
    splits = {"train": data.train, "validation": data.validation}
    with tempfile.TemporaryDirectory() as folder:
        place, name = Path(folder), config.fingerprint()
        for _ in train(config, splits, input_spec(data), place, fingerprint=name, device="cpu"):
            pass
        return checkpoints.rebuild(checkpoints.load(place / checkpoints.FILE_NAME))


def attacked(
    drawing: Drawing, network: nn.Module, attack: AttackConfig, estimator: GradientEstimator
) -> Tensor:
    """The images after an attack that differentiates the network this way."""
    with seeded(0):
        result: Tensor = build_attack(attack, EPSILON)(
            oracle(network, estimator), drawing.images, drawing.labels
        )
    return result


def right(network: nn.Module, images: Tensor, labels: Tensor) -> NDArray[np.bool_]:
    """Which images the network, unchanged, classifies correctly."""
    with torch.no_grad():
        return (network(images).argmax(1) == labels).numpy()


def draw_spike(drawing: Drawing) -> Figure:
    """The step, what stands for its derivative, and where a network's voltages lie."""
    figure = Figure(figsize=(7.6, 3.2), layout="constrained")
    step, slopes = figure.subplots(1, 2, width_ratios=(2, 3))
    excess = torch.linspace(-2.5, 2.5, 501)
    step.step(excess, (excess >= 0).float(), color="black")
    step.set(xlabel="voltage above the threshold", ylabel="spike", yticks=[0, 1])
    step.set_title("forward: a step", fontsize=10.5)
    voltages = excess_of_voltages(drawing.honest, drawing.images)
    slopes.hist(
        voltages, bins=100, range=(-2.5, 2.5), density=True, color=PALE,
        label="voltages of the first layer",
    )  # fmt: skip
    shown = (("triangle", 1.0, BLUE), ("sigmoid", 4.0, "#009E73"), ("arctangent", 2.0, "#CC79A7"))
    for name, width, colour in shown:
        slopes.plot(excess, SURROGATES[name](excess, width), color=colour, label=name)
    narrow = SURROGATES["triangle"](excess, NARROW)
    slopes.plot(excess, narrow, color=ORANGE, linestyle="--", label=f"triangle of width {NARROW}")
    slopes.set(xlabel="voltage above the threshold", ylabel="slope", ylim=(0, 3.5))
    slopes.set_title("backward: surrogates in its place", fontsize=10.5)
    slopes.legend(loc="upper right", fontsize=8)
    return figure


def excess_of_voltages(network: nn.Module, images: Tensor) -> NDArray[np.float32]:
    """Charged voltages of the first layer above its threshold, over all images and steps."""
    found: list[Tensor] = []

    def look(layer: SpikingNeurons, inputs: tuple[Tensor, ...]) -> None:
        current = inputs[0].unflatten(0, (layer.num_timesteps, -1))
        found.append(fire(current, layer.leak, layer.threshold)[1] - layer.threshold)

    first = next(layer for layer in network.modules() if isinstance(layer, SpikingNeurons))
    handle = first.register_forward_pre_hook(look)
    with torch.no_grad():
        network(images)
    handle.remove()
    return found[0].flatten().numpy()


def run_suite(drawing: Drawing) -> Iterator[tuple[Member, Tensor]]:
    """Every member of `thorough`, each on all images, with the images it made."""
    for member in members(load_suite("thorough"), EPSILON):
        if member.attack is not None and member.estimator is not None:
            yield member, attacked(drawing, drawing.honest, member.attack, member.estimator)


def draw_oracles(drawing: Drawing, made: list[tuple[Member, Tensor]]) -> Figure:
    """One image, attacked through two oracles; the same victim judges both."""
    broken = {
        member.name: ~right(drawing.honest, images, drawing.labels) for member, images in made
    }
    first, second = made[0], made[0]
    sample = 0
    for second in made:  # an oracle that breaks an image which the first one misses
        only = np.flatnonzero(broken[second[0].name] & ~broken[first[0].name])
        if len(only):
            sample = int(only[0])
            break
    clean = drawing.images[sample]
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.subplots(2, 3)
    for row, (member, images) in zip(axes, (first, second), strict=True):
        change = images[sample] - clean
        shown = (
            (clean, f"image, read as {_said(drawing.honest, clean)}", "gray", (0, 1)),
            (change, f"change through {member.oracle_name}", "RdBu", (-EPSILON, EPSILON)),
            (
                images[sample],
                f"the victim reads {_said(drawing.honest, images[sample])}",
                "gray",
                (0, 1),
            ),
        )
        for ax, (picture, title, colours, (low, high)) in zip(row, shown, strict=True):
            ax.imshow(picture[0], cmap=colours, vmin=low, vmax=high)
            ax.set_title(title, fontsize=10.5)
            ax.set(xticks=[], yticks=[])
            ax.grid(visible=False)
    return figure


def _said(network: nn.Module, image: Tensor) -> str:
    with torch.no_grad():
        return str(int(network(image[None]).argmax()))


def draw_union(drawing: Drawing, made: list[tuple[Member, Tensor]]) -> Figure:
    """Samples by members: who breaks whom, and what is left."""
    clean = right(drawing.honest, drawing.images, drawing.labels)
    stands = np.stack([clean, *(right(drawing.honest, x, drawing.labels) & clean for _, x in made)])
    table = np.vstack([stands, stands.all(0)])
    order = np.lexsort([*stands[::-1], -stands.sum(0)])
    names = ["no attack", *(member.name for member, _ in made), "all: the union"]
    figure = Figure(figsize=(7.6, 4.0), layout="constrained")
    ax = figure.subplots()
    colours = mpl.colors.ListedColormap([ORANGE, PALE])
    cells = {"cmap": colours, "edgecolors": "white", "linewidth": 0.6, "rasterized": True}
    ax.pcolormesh(table[:, order], vmin=0, vmax=1, **cells)
    ax.invert_yaxis()
    ax.axhline(len(names) - 1, color="black", linewidth=1.2)
    ax.set_yticks(np.arange(len(names)) + 0.5, names)
    ax.set_xlabel(f"{table.shape[1]} test images: grey withstands, orange is misclassified")
    ax.tick_params(length=0)
    ax.set_xticks([])
    ax.grid(visible=False)
    right_side = ax.secondary_yaxis("right")
    shares = [f"{100 * share:.1f} %" for share in table.mean(1)]
    right_side.set_yticks(np.arange(len(names)) + 0.5, shares)
    right_side.tick_params(length=0)
    return figure


def draw_masking(drawing: Drawing) -> Figure:
    """An honest network and a masked one under attacks of which the audit compares pairs."""
    own = {"iterate": "any", "loss": "margin", "relative_step_size": 0.1, "num_steps": 50}
    asked: list[tuple[str, Any, GradientEstimator]] = [
        ("FGSM", FGSMConfig(), OWN),
        ("PGD,\n10 steps", PGDConfig(iterate="any", loss="margin"), OWN),
        ("PGD,\n50 steps", PGDConfig(**own), OWN),
        ("PGD by\nsigmoid", PGDConfig(**own), GradientEstimator(surrogate="sigmoid")),
        ("PGD by\nrates (RGA)", PGDConfig(**own), GradientEstimator(method="rga")),
        ("search\n(Square)", SquareConfig(num_queries=500), OWN),
        ("random\nnoise", NoiseConfig(num_draws=100), OWN),
    ]
    figure = Figure(figsize=(7.6, 3.8), layout="constrained")
    ax = figure.subplots()
    shown = (
        (drawing.honest, "trained through a triangle of width 1", BLUE, -0.2),
        (drawing.narrow, f"through one of width {NARROW}: masked", ORANGE, 0.2),
    )
    total = len(drawing.labels)
    for network, label, colour, shift in shown:
        clean = right(network, drawing.images, drawing.labels)
        counts = [
            int((right(network, attacked(drawing, network, a, e), drawing.labels) & clean).sum())
            for _, a, e in asked
        ]
        shares = np.array(counts) / total
        intervals = np.array([wilson_interval(count, total) for count in counts])
        reach = np.abs(intervals.T - shares)
        places = np.arange(len(asked)) + shift
        ax.bar(places, 100 * shares, 0.38, color=colour, label=label)
        ax.errorbar(places, 100 * shares, 100 * reach, fmt="none", color="black", linewidth=1)
    ax.axvspan(-0.5, 2.5, color=PALE, alpha=0.5, zorder=0)
    ax.text(1, 103, "through the network's own gradient", ha="center", color=GREY)
    ax.set_xticks(range(len(asked)), [name for name, _, _ in asked], fontsize=8.5)
    ax.set(ylabel="% withstand", ylim=(0, 112), xlim=(-0.5, len(asked) - 0.5))
    ax.grid(visible=False, axis="x")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return figure


def main() -> None:
    """Train, draw, save."""
    parser = argparse.ArgumentParser(description="Draw the pictures of docs/concepts.md.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    parser.add_argument("--epochs", type=int, default=15, help="of each training")
    parser.add_argument("--num-samples", type=int, default=100, help="test images; 100")
    options = parser.parse_args()
    data = load_dataset(DigitsConfig())
    images = torch.from_numpy(data.test.images[: options.num_samples]).float() / 255
    labels = torch.from_numpy(data.test.labels[: options.num_samples])
    networks = [trained(data, width, options.epochs) for width in (1.0, NARROW)]
    drawing = Drawing(data, *networks, images, labels)
    with mpl.rc_context(RC | {"svg.fonttype": "path"}):
        made = list(run_suite(drawing))
        pictures = {
            "spike": draw_spike(drawing),
            "oracles": draw_oracles(drawing, made),
            "union": draw_union(drawing, made),
            "masking": draw_masking(drawing),
        }
        for name, figure in pictures.items():
            figure.savefig(options.out / f"{name}.svg", metadata={"Date": None}, dpi=150)


if __name__ == "__main__":
    main()
