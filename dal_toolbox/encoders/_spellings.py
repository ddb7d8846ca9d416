"""Names that one and the same weight has in the code of others."""

import re
from collections.abc import Callable, Mapping, Sequence

Spelling = Callable[[str], str]


def substitution(rules: Sequence[tuple[str, str]]) -> Spelling:
    """A spelling that applies regular expressions one after the other.

    >>> substitution([(r"^conv1[.]", "0.")])("conv1.weight")
    '0.weight'
    """

    def spell(name: str) -> str:
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        return name

    return spell


# Our names (those of timm, and of torchvision's ResNets) -> theirs.
SPELLINGS: Mapping[str, Spelling] = {
    "the same names": lambda name: name,
    # ResNets for CIFAR (kuangliu/pytorch-cifar, SupContrast)
    "shortcuts of CIFAR ResNets": substitution([(r"[.]downsample[.]", ".shortcut.")]),
    # torch.nn.Sequential(*list(resnet.children())[:-1]), as in the examples of lightly
    "numbered layers": substitution([
        (r"^conv1[.]", "0."),
        (r"^bn1[.]", "1."),
        *[(rf"^layer{i}[.]", f"{i + 3}.") for i in range(1, 5)],
    ]),
    # facebookresearch/dinov2
    "registers of DINOv2": substitution([(r"^reg_token$", "register_tokens")]),
    # torchvision.models.VisionTransformer
    "torchvision's vision transformer": substitution([
        (r"^cls_token$", "class_token"),
        (r"^pos_embed$", "encoder.pos_embedding"),
        (r"^patch_embed[.]proj[.]", "conv_proj."),
        (r"^norm[.]", "encoder.ln."),
        (r"^blocks[.](\d+)[.]", r"encoder.layers.encoder_layer_\1."),
        (r"[.]norm([12])[.]", r".ln_\1."),
        (r"[.]attn[.]qkv[.]", ".self_attention.in_proj_"),
        (r"[.]attn[.]proj[.]", ".self_attention.out_proj."),
        (r"[.]mlp[.]fc1[.]", ".mlp.0."),
        (r"[.]mlp[.]fc2[.]", ".mlp.3."),
    ]),
}  # fmt: skip
