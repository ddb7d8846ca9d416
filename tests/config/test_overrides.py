"""The command line: aliases, and mistakes in one plain line."""

from pathlib import Path

import pytest

from dal_toolbox.config.overrides import check, expand_aliases
from dal_toolbox.config.parts import GROUPS, mirror
from dal_toolbox.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


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


def test_the_character_that_cannot_be_read_is_named():
    with pytest.raises(UserError, match=r": '\(' has a meaning of its own"):
        check(["output_dir=/data/x(1)"], "ssl")


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
        ("ssl", ["=3"], "'=3' has no key: write key=value"),
        ("ssl", ["+foo=1"], "+foo=1: adds a key, which nothing reads"),
        ("ssl", ["++foo=1"], "no key 'foo'"),
        ("ssl", ["~trainer"], "~trainer: removes a key"),
        ("ssl", ["random_seed=-1"], "random_seed=-1: must be an integer of at least 0"),
        ("ssl", ["random_seed=9223372036854775808"], "must be an integer of 64 bits"),
        ("ssl", ["trainer.precision=fp8"], "trainer.precision='fp8': choose one of auto, 32, bf16, 16"),
        ("ssl", ["trainer.accelerator=tpu"], "trainer.accelerator='tpu': choose one of auto, cpu"),
        ("ssl", ["model.predict_batch_size=0"], "model.predict_batch_size=0: must be an integer of"),
        ("ssl", ["model.temperature=nan"], "model.temperature=nan: must be a finite number"),
        ("ssl", ["model.encoder=resnet17"], "encoder.model=resnet17: timm has no such model"),
        ("ssl", ["ssl_val_interval=0"], "ssl_val_interval=0"),
        ("ssl", ["knn.temperature=0"], "knn.temperature=0: must be a number above 0"),
        ("ssl", ["model.optimizer=null"], "model.optimizer=None: expected a mapping of keys"),
        ("ssl", ["model.projector_dim=1000000000000"], "model.projector_dim=1000000000000: must be"),
        ("ssl", ["export.types=[onx]"], "export.types=['onx']"),
        ("ssl", ["color_distortion_strength=9"], "color_distortion_strength=9"),
        ("active_learning", ["dtype=float8"], "dtype='float8': choose one of float32, float16"),
        ("active_learning", ["dtype=null"], "dtype=None"),
        ("active_learning", ["n_cpus=-2"], "n_cpus=-2: must be an integer of at least 0"),
        ("active_learning", ["plugins=null"], "plugins=None: must be a list of strings"),
        ("active_learning", ["classes=3"], "classes=3: must be a list"),
        ("active_learning", ["classes=true"], "classes=True: must be a list"),
        ("active_learning", ["query_size=${x}"], "query_size=${x}: "),
        ("active_learning", ["output_dir=${oc.env:HOME}"], "let the shell insert the value"),
        ("active_learning", ["output_dir=/dev/null/x"], "output_dir=/dev/null/x: /dev/null is no folder"),
        ("active_learning", ["output_dir=" + 300 * "x"], "File name too long"),
        ("active_learning", ["features=encodr"], "features=encodr: no folder or file"),
        ("active_learning", ["encoder_checkpoint=nowhere"], "encoder_checkpoint=nowhere: no such file"),
        ("active_learning", ["classes=[cat,", "dog]"], "write 'classes=[cat, dog]'"),
        ("active_learning", ["output_dir=a b=c"], """put the value in quotes: 'output_dir="a b=c"'"""),
        ("active_learning", ["strategy=3"], "no strategy '3'. Known: activeft"),
        ("active_learning", ["strategy.name=margn"], "strategy.name=margn: no query strategy 'margn'. Did"),
        ("report", ["runs=configs", "metric=f1"], "metric='f1': choose one of accuracy"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_plain_line(config, overrides, message, monkeypatch):
    monkeypatch.chdir(ROOT)
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
        ("active_learning", ["encoder_checkpoint=configs", "hydra.verbose=true"]),
        ("features", ["splits=[train]", "dtype=float16"]),
        ("report", ["runs=configs"]),
        ("ssl", ["trainer.precision=32", "output_dir=2024"]),
        ("evaluation", ["images_per_class=[10,50]", "classes=[cat,3]"]),
    ],
)
def test_what_is_right_passes(config, overrides, monkeypatch):
    monkeypatch.chdir(ROOT)
    check(overrides, config)


@pytest.mark.parametrize("override", ["strategy=random,margin", "random_seed=1,2"])
def test_several_values_need_a_sweep(override):
    with pytest.raises(UserError, match="several values: add -m"):
        check([override], "active_learning", sweep=False)


def test_every_value_of_a_sweep_is_checked():
    with pytest.raises(UserError, match="query_size=0: must be"):
        check(["strategy=random,margin", "query_size=5,10,0"], "active_learning")


def test_letters_beyond_the_grammar_are_quoted():
    expanded = expand_aliases(["dataset.root=/data/Übung", "output_dir=run#1", "n_cpus=2"], "ssl")
    assert expanded == ['dataset.root="/data/Übung"', 'output_dir="run#1"', "n_cpus=2"]
    check(["dataset=folder", *expanded], "ssl")
