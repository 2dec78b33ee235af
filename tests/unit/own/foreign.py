"""Networks that do what ordinary layers and a plain forward pass do not."""

from __future__ import annotations

from collections import namedtuple

import torch
import torch.fx
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

Outputs = namedtuple("Outputs", ["logits", "aux"])


def stem(width: int = 8) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU())


def head(width: int, classes: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def plain(num_classes: int) -> nn.Sequential:
    return nn.Sequential(
        stem(), nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU(), *head(8, num_classes)
    )


class Auxiliary(nn.Module):
    """Gives several outputs while training."""

    def __init__(self, num_classes: int, kind: str) -> None:
        super().__init__()
        self.stem, self.body = stem(), nn.Conv2d(8, 8, 3, 1, 1)
        self.aux, self.head, self.kind = nn.Linear(8, num_classes), head(8, num_classes), kind

    def forward(self, x):
        x = self.stem(x)
        logits = self.head(torch.relu(self.body(x)))
        if not self.training:
            return logits
        aux = self.aux(x.mean((2, 3)))
        return {
            "tuple": (logits, aux),
            "named": Outputs(logits, aux),
            "dict": {"aux": aux, "logits": logits},
            "list": [logits, aux],
        }[self.kind]


def aux_tuple(num_classes: int) -> nn.Module:
    return Auxiliary(num_classes, "tuple")


def aux_named(num_classes: int) -> nn.Module:
    return Auxiliary(num_classes, "named")


def aux_dict(num_classes: int) -> nn.Module:
    return Auxiliary(num_classes, "dict")


def aux_list(num_classes: int) -> nn.Module:
    return Auxiliary(num_classes, "list")


class Features(nn.Module):
    """Gives a tensor of another shape while training."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem, self.head = stem(), head(8, num_classes)

    def forward(self, x):
        x = self.stem(x)
        return x if self.training else self.head(x)


def features_while_training(num_classes: int) -> nn.Module:
    return Features(num_classes)


class Named(nn.Module):
    """Has a layer and an attribute that are called as what prune3d keeps on a network."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.spec, self.lineage = nn.Conv2d(3, 8, 3, 2, 1), ["of", "its", "own"]
        self.body, self.head = nn.Conv2d(8, 8, 3, 1, 1), head(8, num_classes)

    def forward(self, x):
        return self.head(torch.relu(self.body(torch.relu(self.spec(x)))))


def named(num_classes: int) -> nn.Module:
    return Named(num_classes)


class Tied(nn.Module):
    """Two layers with one weight, and a weight used by a function as well."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem, self.head = stem(), head(8, num_classes)
        self.a, self.b = nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.Conv2d(8, 8, 3, 1, 1)
        self.b.weight = self.a.weight

    def forward(self, x):
        x = self.stem(x)
        return self.head(torch.relu(self.b(torch.relu(self.a(x)))))


def tied(num_classes: int) -> nn.Module:
    return Tied(num_classes)


def frozen(num_classes: int) -> nn.Module:
    model = plain(num_classes)
    model[0].requires_grad_(False)
    return model


class Operators(nn.Module):
    """Computes by functions what layers could."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem, self.head = stem(), head(8, num_classes)
        self.weight = nn.Parameter(torch.randn(8, 8, 3, 3) * 0.1)
        self.register_buffer("blur", torch.full((8, 1, 3, 3), 1 / 9))
        self.up, self.line = nn.ConvTranspose2d(8, 8, 2, 2), nn.Conv1d(8, 8, 3, padding=1)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        x = F.conv2d(self.stem(x), self.weight, padding=1)
        x = F.conv2d(self.up(x), self.blur, stride=2, padding=1, groups=8)
        tokens = self.line(x.flatten(2)).transpose(1, 2)
        mixed = self.attend(tokens, tokens, tokens, need_weights=False)[0]
        gram = torch.einsum("nlc,nld->ncd", mixed, tokens)
        x = x + (mixed @ gram).transpose(1, 2).reshape(x.shape) / 100
        return self.head(x)


def operators(num_classes: int) -> nn.Module:
    return Operators(num_classes)


class Dynamic(nn.Module):
    """Convolves each image by a kernel and a bias of its own, both mixed from several."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem, self.head, self.mix = stem(), head(8, num_classes), nn.Linear(8, 3)
        self.weight = nn.Parameter(torch.randn(3, 8, 8, 3, 3) * 0.1)
        self.bias = nn.Parameter(torch.zeros(3, 8))

    def forward(self, x):
        x = self.stem(x)
        n, c, h, w = x.shape
        shares = self.mix(x.mean((2, 3))).softmax(1)
        weight = torch.mm(shares, self.weight.view(3, -1)).view(n * 8, c, 3, 3)
        bias = torch.mm(shares, self.bias).view(-1)
        x = F.conv2d(x.reshape(1, n * c, h, w), weight, bias, padding=1, groups=n)
        return self.head(x.view(n, 8, h, w))


def dynamic(num_classes: int) -> nn.Module:
    return Dynamic(num_classes)


class Spread(nn.Module):
    """Divides by a variance, of which one pixel has none."""

    def forward(self, x):
        squares = (x - x.mean((2, 3), keepdim=True)).square()
        variance = squares.sum((2, 3), keepdim=True) / (x.shape[2] * x.shape[3] - 1)
        return x * torch.sigmoid(squares / (variance + 1e-4))


def divides_by_variance(num_classes: int) -> nn.Module:
    return nn.Sequential(stem(), Spread(), *head(8, num_classes))


class Folded(nn.Module):
    """Folds quarters of the image into the batch."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem, self.body, self.head = (
            stem(),
            nn.Conv2d(8, 8, 3, 1, 1),
            nn.Linear(8, num_classes),
        )

    def forward(self, x):
        n, c, h, w = x.shape
        x = x.view(n, c, 2, h // 2, 2, w // 2).permute(0, 2, 4, 1, 3, 5)
        x = x.reshape(n * 4, c, h // 2, w // 2)
        return self.head(self.body(self.stem(x)).mean((2, 3)).view(n, 4, -1).mean(1))


def folded(num_classes: int) -> nn.Module:
    return Folded(num_classes)


class Gated(nn.Module):
    """A residual block that takes more than a tensor and has attributes that others read."""

    expansion = 1

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(width, width, 3, 1, 1), nn.Conv2d(width, width, 3, 1, 1)
        self.stride, self.scales = 1, (1.0, 0.5)

    def forward(self, x, gate, *, scale=1.0):
        return torch.relu(x + gate * scale * self.b(torch.relu(self.a(x))))


class Reads(nn.Module):
    """Reads attributes of its blocks and calls them with more than a tensor."""

    def __init__(self, num_classes: int, deep: bool) -> None:
        super().__init__()
        self.stem, self.head = stem(), head(8, num_classes)
        self.blocks, self.deep = nn.ModuleList(Gated(8) for _ in range(3)), deep

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x, x.mean((2, 3), keepdim=True), scale=block.scales[1] / block.stride)
            if self.deep:
                x = x + block.a.bias.mean() + block.b.bias.mean()
        return self.head(x * self.blocks[0].expansion)


def reads_attributes(num_classes: int) -> nn.Module:
    return Reads(num_classes, deep=False)


def reads_layers(num_classes: int) -> nn.Module:
    return Reads(num_classes, deep=True)


class Twice(nn.Module):
    """Calls one residual block twice, by keyword, and one block on flat tokens."""

    class Block(nn.Module):
        """Two convolutions and a shortcut."""

        def __init__(self, width: int) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(width, width, 3, 1, 1), nn.Conv2d(width, width, 3, 1, 1)

        def forward(self, x):
            flat = x.dim() == 3
            y = x.view(len(x), x.shape[1], 4, -1) if flat else x
            y = torch.relu(y + self.b(torch.relu(self.a(y))))
            return y.flatten(2) if flat else y

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem, self.head = stem(), nn.Linear(8, num_classes)
        self.twice, self.flat = self.Block(8), self.Block(8)

    def forward(self, x):
        x = self.twice(x=self.twice(x=self.stem(x)))
        return self.head(self.flat(x.flatten(2)).mean(2))


def twice(num_classes: int) -> nn.Module:
    return Twice(num_classes)


class Remembers(nn.Module):
    """Leaves tensors with a history on itself."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem, self.head = stem(), head(8, num_classes)
        self.body = torch.nn.utils.weight_norm(nn.Conv2d(8, 8, 3, 1, 1))

    def forward(self, x):
        self.last = {"features": [self.stem(x)]}
        return self.head(self.body(self.last["features"][0]))


def remembers(num_classes: int) -> nn.Module:
    return Remembers(num_classes)


def lazy(num_classes: int) -> nn.Module:
    return nn.Sequential(
        nn.LazyConv2d(8, 3, 2, 1),
        nn.LazyBatchNorm2d(),
        nn.ReLU(),
        nn.LazyConv2d(8, 3, 1, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LazyLinear(num_classes),
    )


def scripted(num_classes: int) -> nn.Module:
    return torch.jit.script(plain(num_classes))


def parallel(num_classes: int) -> nn.Module:
    return nn.DataParallel(plain(num_classes))


def parallel_inside(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.DataParallel(stem()), *head(8, num_classes))


def synchronized(num_classes: int) -> nn.Module:
    return nn.SyncBatchNorm.convert_sync_batchnorm(plain(num_classes))


def scripted_inside(num_classes: int) -> nn.Module:
    return nn.Sequential(torch.jit.script(stem()), *head(8, num_classes))


def traced_by_fx(num_classes: int) -> nn.Module:
    return torch.fx.symbolic_trace(plain(num_classes))


class Listed(nn.Module):
    """Has a layer that is not registered."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem, self.head = stem(), head(8, num_classes)
        self.layers = [nn.Conv2d(8, 8, 3, 1, 1)]

    def forward(self, x):
        return self.head(self.layers[0](self.stem(x)))


def listed(num_classes: int) -> nn.Module:
    return Listed(num_classes)


class Hooked(nn.Module):
    """Keeps features by a hook or computes with a lambda, both of which know this very object."""

    def __init__(self, num_classes: int, by_hook: bool) -> None:
        super().__init__()
        self.stem, self.body, self.head = (
            stem(),
            nn.Conv2d(8, 8, 3, 1, 1),
            nn.Linear(16, num_classes),
        )
        self.kept = {}
        if by_hook:
            self.stem.register_forward_hook(lambda m, i, out: self.kept.update(low=out))
        else:
            self.again = lambda x: self.body(x)
        self.by_hook = by_hook

    def forward(self, x):
        x = self.stem(x)
        low = self.kept["low"] if self.by_hook else self.again(x)
        return self.head(torch.cat([low, self.body(x)], 1).mean((2, 3)))


def hooked(num_classes: int) -> nn.Module:
    return Hooked(num_classes, by_hook=True)


def closed(num_classes: int) -> nn.Module:
    return Hooked(num_classes, by_hook=False)


def by_chance(num_classes: int) -> nn.Module:
    """Return a network of another width each time."""
    width = 8 + int(torch.randint(1, 1000, ()))
    return nn.Sequential(stem(width), *head(width, num_classes))


class Overwrites(nn.Module):
    """Writes over what a gradient is to be computed from."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem, self.head = stem(), head(8, num_classes)
        self.body = nn.Conv2d(4, 4, 3, 1, 1)

    def forward(self, x):
        x = self.stem(x).clone()
        x[:, :4] = self.body(x[:, :4])
        return self.head(x)


def overwrites(num_classes: int) -> nn.Module:
    return Overwrites(num_classes)


class CompiledInside(nn.Module):
    """Holds what `torch.compile` gives and a part that compiles itself."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem, self.head = torch.compile(stem()), head(8, num_classes)
        self.head.compile()

    def forward(self, x):
        return self.head(self.stem(x))


def compiled_inside(num_classes: int) -> nn.Module:
    return CompiledInside(num_classes)


def half(num_classes: int) -> nn.Module:
    return plain(num_classes).half()


class Noisy(nn.Module):
    """Is random in evaluation mode, too."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem, self.head = stem(), head(8, num_classes)

    def forward(self, x):
        return self.head(F.dropout(self.stem(x)))


def noisy(num_classes: int) -> nn.Module:
    return Noisy(num_classes)


class Branches(nn.Module):
    """Looks at what it computes, or at sizes and parameters alone."""

    def __init__(self, num_classes: int, by_images: bool) -> None:
        super().__init__()
        self.stem, self.head, self.by_images = stem(), head(8, num_classes), by_images
        self.body, self.power = nn.Conv2d(8, 8, 3, 1, 1), nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        x = self.stem(x)
        n, _, h, w = x.shape
        assert n > 0 and h == w
        if self.by_images and float(x.mean()) > 0.1:
            x = self.body(x)
        return self.head(F.avg_pool2d(x.pow(float(self.power)), (h, w)) if h > 2 else x)


def branches_by_images(num_classes: int) -> nn.Module:
    return Branches(num_classes, by_images=True)


def branches_by_sizes(num_classes: int) -> nn.Module:
    return Branches(num_classes, by_images=False)


def not_in_onnx(num_classes: int) -> nn.Module:
    """Return a network with operators that torch's exporter does not write as they are."""
    return nn.Sequential(
        stem(),
        nn.ChannelShuffle(2),
        nn.InstanceNorm2d(8, affine=True, track_running_stats=True),
        nn.Conv2d(8, 8, 3, 1, 1),
        nn.InstanceNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d((5, 6)),
        nn.AdaptiveAvgPool2d((4, 3)),
        nn.Flatten(),
        nn.RMSNorm(96),
        nn.Linear(96, num_classes),
    )


class Rare(nn.Module):
    """Calls what torch's exporter does not write as it is, and takes the number of images."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = stem()
        self.body = nn.Conv2d(8, 8, (4, 3), padding="same", dilation=2)
        self.pair, self.head = nn.Bilinear(16, 8, 16), nn.Linear(16, num_classes)

    def forward(self, x):
        x = F.threshold(self.body(self.stem(x)), 0.1, 0.2)
        along, across = F.adaptive_avg_pool2d(x, (None, 1)), F.adaptive_max_pool2d(x, (1, None))
        x = x * torch.sigmoid(along * across)
        x = F.interpolate(x, scale_factor=1.5, mode="nearest-exact")
        x = F.interpolate(x, (5, 6), mode="bilinear", antialias=True)
        gram = torch.matmul(x.view(len(x), 8, -1), x.reshape(int(x.shape[0]), 8, -1).mT)
        x = torch.inner(gram, torch.ones(16, 8)).mean(1)
        return self.head(torch.addcdiv(self.pair(x, gram.mH.mean(1)), x, x.abs() + 1, value=0.5))


def rare_in_onnx(num_classes: int) -> nn.Module:
    return Rare(num_classes)


class Fourier(nn.Module):
    """Has no counterpart in ONNX at all."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem, self.head = stem(), head(8, num_classes)

    def forward(self, x):
        return self.head(torch.fft.rfft2(self.stem(x)).abs())


def fourier(num_classes: int) -> nn.Module:
    return Fourier(num_classes)


class InPlace(nn.Module):
    """Changes the output of a block in place, while the block's input is needed later."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem, self.head = stem(), head(8, num_classes)
        self.other = Twice.Block(8)
        self.block = nn.Sequential()
        self.block.add_module("a", nn.Conv2d(8, 8, 3, 1, 1))
        self.block.add_module("b", nn.Conv2d(8, 8, 3, 1, 1))

    def forward(self, x):
        x = self.stem(x)
        y = self.block(x)
        y -= 1
        return self.head(self.other(y.relu_()) + x)


def in_place(num_classes: int) -> nn.Module:
    return InPlace(num_classes)


class Added(nn.Sequential):
    """Adds what each of its parts makes."""

    def forward(self, x):
        for part in self:
            x = x + part(x)
        return x


def single_block(num_classes: int) -> nn.Module:
    parts = [nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8)) for _ in range(3)]
    return nn.Sequential(stem(), Added(*parts), *head(8, num_classes))


def instance_normed(num_classes: int) -> nn.Module:
    part = nn.Sequential(nn.Conv2d(8, 16, 3, 1, 1), nn.InstanceNorm2d(16, affine=True), nn.GLU(1))
    return nn.Sequential(stem(), Added(part), *head(8, num_classes))


class Clamped(nn.Module):
    """Gives a function the clamped weight of a layer that is never called."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 12, 3, 2, 1), nn.Conv2d(12, 16, 3, 1, 1)
        self.c = nn.Conv2d(16, 8, 1)
        self.head = nn.Linear(8, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.a(x))
        x = F.relu(F.conv2d(x, self.b.weight.clamp(-1, 1), self.b.bias, padding=1))
        return self.head(F.relu(self.c(x)).mean((2, 3)))


def clamped(num_classes: int) -> nn.Module:
    return Clamped(num_classes)


def spectrally_normed(num_classes: int) -> nn.Module:
    middle = spectral_norm(nn.Conv2d(8, 8, 3, 1, 1))
    return nn.Sequential(stem(), middle, nn.ReLU(), head(8, num_classes))


class ByCount(nn.Module):
    """Looks twice where there are several images."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem, self.body, self.head = stem(), nn.Conv2d(8, 8, 3, 1, 1), head(8, num_classes)

    def forward(self, x):
        x = self.body(self.stem(x))
        return self.head(self.body(x) if len(x) > 1 else x)


def counts_images(num_classes: int) -> nn.Module:
    return ByCount(num_classes)


class WideAuxiliary(nn.Module):
    """Has a head that needs larger maps, while training only."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem, self.body, self.head = stem(), nn.Conv2d(8, 8, 3, 1, 1), head(8, num_classes)
        self.wide, self.aux = nn.Conv2d(8, 4, 5), nn.Linear(4, num_classes)

    def forward(self, x):
        x = self.stem(x)
        logits = self.head(torch.relu(self.body(x)))
        return (logits, self.aux(self.wide(x).mean((2, 3)))) if self.training else logits


def wide_auxiliary(num_classes: int) -> nn.Module:
    return WideAuxiliary(num_classes)
