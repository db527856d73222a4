"""What the exact judge costs, and how far it is from plain forward passes, and these from another.

    python -m benchmarks.exact                          # times
    python -m benchmarks.exact --agreement digits
    python -m benchmarks.exact --agreement FOLDER       # train*.parquet and test*.parquet
    python -m benchmarks.exact --integers               # 8-bit digits and integer products

Times: forward passes alternate in one process. Agreement: a small network is trained; its test
images, clean and attacked, are judged by the plain network in several layouts and batch sizes, and
by the exact one. What is compared is the spikes of all layers, and the predictions.
"""

import argparse
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.exactness import attacked
from benchmarks.report import Cell, Table, add_outputs, publish
from benchmarks.timing import alternating, ratio
from models import InputSpec, ModelConfig, SpikingClassifier, build_model
from models.exact import exact
from models.exact_layers import ExactNeurons
from models.neurons import SpikingNeurons
from pipeline.data import DigitsConfig, load_dataset
from pipeline.data.parquet_images import ParquetConfig
from pipeline.training import build_strategy
from pipeline.training.config import TrainingConfig
from pipeline.training.loop import build_optimizer, train_epoch
from pipeline.training.vanilla import VanillaConfig

CIFAR10: dict[str, Any] = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2023, 0.1994, 0.2010)}
LAYOUTS = {"as built": torch.channels_last, "contiguous": torch.contiguous_format}


def awake(architecture: Any, num_timesteps: int = 8) -> SpikingClassifier:
    """A network with random weights whose neurons fire."""
    torch.manual_seed(0)
    config = ModelConfig(architecture=architecture, num_timesteps=num_timesteps)
    spec = InputSpec(channels=3, height=32, width=32, num_classes=10, **CIFAR10)
    model = build_model(config, spec)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.bias, 0.3, 0.1)
    return model.eval()


def times(rounds: int, batch_size: int) -> Table:
    """A table of forward passes."""
    rows: list[dict[str, Cell]] = []
    images = torch.randint(0, 256, (batch_size, 3, 32, 32)).float() / 255
    for architecture in ("small", "wrn16_4", "vgg11"):
        model = awake(architecture)
        judge = exact(model)
        with torch.no_grad():
            seconds = alternating(
                {"plain": lambda m=model: m(images), "exact": lambda j=judge: j(images)},
                rounds,
                torch.device("cpu"),
            )
        products = sum(line.num_products for line in judge.report) / len(judge.report)
        rows.append(
            {
                "network": architecture,
                "plain_s": seconds["plain"],
                "exact_s": seconds["exact"],
                "over_plain": ratio(seconds["exact"], seconds["plain"]),
                "products": products,
                "error": f"{max(line.error for line in judge.report):.2e}",
                "load": max(line.load for line in judge.report) / 2**24,
            }
        )
    columns = {
        "network": "network",
        "plain_s": "plain, s",
        "exact_s": "exact, s",
        "over_plain": "exact / plain",
        "products": "products a layer",
        "error": "worst weight error",
        "load": "largest sum / 2**24",
    }
    return Table(columns=columns, rows=rows)


def trained(data: str, epochs: int) -> tuple[SpikingClassifier, Tensor, Tensor]:
    """A small network of some epochs, and test images with labels."""
    config: Any = DigitsConfig(num_test=600) if data == "digits" else ParquetConfig(root=data)
    dataset = load_dataset(config)
    spec = InputSpec(
        channels=dataset.channels,
        height=dataset.height,
        width=dataset.width,
        num_classes=dataset.num_classes,
        mean=dataset.mean,
        std=dataset.std,
    )
    torch.manual_seed(0)
    model = build_model(ModelConfig(architecture="small", num_timesteps=8), spec)
    strategy = build_strategy(VanillaConfig(method="vanilla"))
    optimizer = build_optimizer(model, TrainingConfig(learning_rate=0.05), strategy)
    images, labels = (torch.tensor(a) for a in (dataset.train.images, dataset.train.labels))
    for _ in range(epochs):
        train_epoch(model, optimizer, strategy, images, labels, 64, lambda batch: batch)
    test = dataset.test.head(500)
    return model.eval(), torch.tensor(test.images).float() / 255, torch.tensor(test.labels)


@torch.no_grad()
def answer(model: nn.Module, images: Tensor, size: int) -> tuple[list[Tensor], Tensor]:
    """Spikes of each layer, (T, B, ...), and predictions, computed `size` at a time."""
    spikes: list[list[Tensor]] = []

    def note(_: nn.Module, __: Any, fired: Tensor) -> None:
        spikes[-1].append(fired.unflatten(0, (8, -1)) != 0)

    layers = [m for m in model.modules() if isinstance(m, SpikingNeurons | ExactNeurons)]
    handles = [layer.register_forward_hook(note) for layer in layers]
    predicted = []
    for part in images.split(size):
        spikes.append([])
        predicted.append(model(part).argmax(1))
    for handle in handles:
        handle.remove()
    joined = [torch.cat(parts, 1) for parts in zip(*spikes, strict=True)]
    return joined, torch.cat(predicted)


def agreement(data: str, epochs: int, epsilon: float) -> Table:
    """A table of differing spikes and predictions."""
    model, images, labels = trained(data, epochs)
    judge = exact(model)
    tried = attacked(model, images, labels, epsilon, 100)
    rows: list[dict[str, Cell]] = []
    for name, shown in (("clean", images), ("PGD10", (tried * 65535).round() / 65535)):
        reference = answer(judge, shown, 100)
        base = answer(model.to(memory_format=torch.channels_last), shown, 100)
        others = {"exact, batch 7": answer(judge, shown, 7), "exact": reference}
        for layout, memory_format in LAYOUTS.items():
            for size in (1, 100, 500):
                if (layout, size) != ("as built", 100):
                    arranged = model.to(memory_format=memory_format)  # type: ignore[call-overload]
                    shaped = shown.contiguous(memory_format=memory_format)
                    others[f"plain, {layout}, batch {size}"] = answer(arranged, shaped, size)
        for other, (spikes, predicted) in others.items():
            pairs = list(zip(spikes, base[0], strict=True))
            rows.append(
                {
                    "images": name,
                    "judge": other,
                    "spikes_differ": sum(int((a != b).sum()) for a, b in pairs),
                    "spikes": sum(a.numel() for a in spikes),
                    "differ_from_plain": int((predicted != base[1]).sum()),
                    "differ_from_exact": int((predicted != reference[1]).sum()),
                    "right_percent": 100 * float((predicted == labels).float().mean()),
                }
            )
    columns = {
        "images": "images",
        "judge": "judged by",
        "spikes_differ": "spikes other than plain's",
        "spikes": "of",
        "differ_from_plain": "predictions other than plain's",
        "differ_from_exact": "other than exact's",
        "right_percent": "right, %",
    }
    return Table(columns=columns, rows=rows, note="`plain`: as built, batches of 100.")


def integers(rounds: int) -> Table:
    """One convolution of VGG-11: float32, two exact digits, and three digits of 8 bits."""
    spikes = (torch.rand(64, 256, 8, 8) < 0.2).float().contiguous(memory_format=torch.channels_last)
    digits = torch.randint(-128, 128, (512, 256, 3, 3)).float()
    digits = digits.contiguous(memory_format=torch.channels_last)
    flat = digits.permute(0, 2, 3, 1).flatten(1).to(torch.int8).T.contiguous()
    bits = spikes.to(torch.int8)

    def patches() -> Tensor:
        padded = nn.functional.pad(bits.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        windows = padded.unfold(1, 3, 1).unfold(2, 3, 1)
        return windows.permute(0, 1, 2, 4, 5, 3).reshape(64 * 64, -1)

    def whole(count: int) -> list[Tensor]:
        rows = patches()
        return [torch._int_mm(rows, flat) for _ in range(count)]

    def single(count: int) -> list[Tensor]:
        return [nn.functional.conv2d(spikes, digits, padding=1) for _ in range(count)]

    same = torch.equal(whole(1)[0].float(), single(1)[0].permute(0, 2, 3, 1).reshape(64 * 64, -1))
    seconds = alternating(
        {
            "float32, one": lambda: single(1),
            "float32, two digits": lambda: single(2),
            "int8, three digits": lambda: whole(3),
        },
        rounds,
        torch.device("cpu"),
    )
    rows: list[dict[str, Cell]] = [
        {"products": name, "seconds": found, "over_one": ratio(found, seconds["float32, one"])}
        for name, found in seconds.items()
    ]
    columns = {"products": "products", "seconds": "s", "over_one": "/ float32, one"}
    told = f"int8 and float32 sums are {'equal' if same else 'NOT equal'}"
    return Table(columns=columns, rows=rows, below=told)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agreement", metavar="DATA", help="digits, or a folder of Parquet files")
    parser.add_argument("--integers", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--epsilon", type=float, default=8 / 255)
    parser.add_argument("--threads", type=int, default=2)
    add_outputs(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.agreement:
        table = agreement(options.agreement, options.epochs, options.epsilon)
    elif options.integers:
        table = integers(options.rounds)
    else:
        table = times(options.rounds, options.batch_size)
    publish(table, options)


if __name__ == "__main__":
    main()
