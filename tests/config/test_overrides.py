"""The command line: aliases, and mistakes in one plain line."""

import pytest

from dal_toolbox.config.overrides import check, expand_aliases
from dal_toolbox.config.parts import GROUPS, mirror
from dal_toolbox.errors import UserError


@pytest.fixture(scope="module", autouse=True)
def mirrored():
    for group in GROUPS:
        mirror(group)


@pytest.mark.parametrize(
    "given, meant",
    [
        ("ssl_model.temperature=0.1", ["model.temperature=0.1"]),
        ("ssl_model=simclr", ["ssl_model=simclr"]),
        ("model.encoder=resnet34", ["encoder=resnet34"]),
        ("model.encoder=resnet18,small", ["encoder=resnet18,small"]),
        ("model.encoder=coatnet_1_224", ["encoder=timm", "encoder.model=coatnet_1_224"]),
        ("encoder=coatnet_1_224", ["encoder=timm", "encoder.model=coatnet_1_224"]),
        ("encoder=coatnet_0_224", ["encoder=coatnet_0_224"]),
        ("encoder=smal", ["encoder=smal"]),
        ("ssl_model.encoder=small", ["encoder=small"]),
        ("model.val_batch_size=7", ["model.predict_batch_size=7"]),
        ("dataset.color_distortion_strength=1", ["color_distortion_strength=1"]),
        ("+experiment=quickstart", ["experiment/ssl=quickstart"]),
    ],
)
def test_documented_spellings(given, meant):
    assert expand_aliases([given], "ssl") == meant


def test_seed_001_arguments_keep_their_names():
    check(
        ["ssl_model=simclr", "dataset=CIFAR10", "le_model.num_epochs=90",
         "le_model.train_batch_size=4096", "le_model.val_batch_size=512",
         "le_model.optimizer.base_lr=0.1", "le_model.optimizer.weight_decay=0.0",
         "le_model.optimizer.momentum=0.9", "le_model.callback.enabled=True",
         "le_model.callback.interval=50", "n_cpus=16", "random_seed=42", "ssl_val_interval=25",
         "dataset_path=./data/", "output_dir=./output/", "model.name=simclr", "model.projector=mlp",
         "model.projector_dim=128", "model.temperature=0.5", "model.n_epochs=100",
         "model.train_batch_size=512", "model.accumulate_batches=1", "model.predict_batch_size=512",
         "model.optimizer.base_lr=0.06", "model.optimizer.weight_decay=0",
         "model.optimizer.momentum=0.9", "color_distortion_strength=1"],
        "ssl",
    )  # fmt: skip


@pytest.mark.parametrize(
    "config, overrides, message",
    [
        ("active_learning", ["strategy=typyclust"], "no strategy 'typyclust'. Did you mean 'typiclust'"),
        ("active_learning", ["query_size=ten"], "query_size=ten: expected an integer (default 10)"),
        ("active_learning", ["querysize=10"], "no key 'querysize' in the config. Did you mean 'query_size'"),
        ("active_learning", ["strategy.k=3"], "no key 'strategy.k'"),
        ("active_learning", ["dataset=MNISD"], "no dataset 'MNISD'"),
        ("active_learning", ["classifier.l2=much"], "classifier.l2=much: expected"),
        ("active_learning", ["strategy=random,margn"], "no strategy 'margn'. Did you mean 'margin'"),
        ("active_learning", ["query_size=1,two"], "query_size=two: expected an integer"),
        ("active_learning", ["overwrite=1"], "overwrite=1: expected true or false (default False)"),
        ("active_learning", ["experiment=quikstart"], "no experiment 'quikstart'. Did you mean 'quickstart'"),
        ("ssl", ["ssl_model=simclir"], "no ssl_model 'simclir'. Did you mean 'simclr'"),
        ("ssl", ["model.temperature=hot"], "model.temperature=hot: expected a number (default 0.5)"),
        ("ssl", ["model.temprature=0.5"], "no key 'model.temprature' in the config. Did you mean 'model.temperature'"),
        ("ssl", ["n_cpus=many"], "n_cpus=many: expected an integer (default 16)"),
        ("ssl", ["=3"], ""),
    ],
)  # fmt: skip
def test_a_mistake_is_one_plain_line(config, overrides, message):
    with pytest.raises(UserError) as caught:
        check(expand_aliases(overrides, config), config)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "config, overrides",
    [
        ("ssl", ["model.temperature=1"]),
        ("ssl", ["model.augmentation.blur=0.5", "model.augmentation.solarize=[0.0,0.2]"]),
        ("ssl", ["encoder=timm", "encoder.model=coatnet_0_224"]),
        ("ssl", ["dataset=folder", "dataset.root=/data/images", "dataset.image_size=64"]),
        ("active_learning", ["strategy=random,margin", "random_seed=0,1,2"]),
        ("active_learning", ["random_seed=range(0,5)"]),
        ("active_learning", ["encoder_checkpoint=output/ssl", "hydra.verbose=true"]),
        ("features", ["splits=[train]", "dtype=float16"]),
        ("report", ["runs=output/x"]),
    ],
)
def test_what_is_right_passes(config, overrides):
    check(overrides, config)
